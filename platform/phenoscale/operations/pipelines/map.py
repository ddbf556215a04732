"""The map of a new screen, made with an encoder that is there already: the champion."""

from typing import Final

from phenoscale.operations.pipelines.links import (
    CHAMPION,
    KEEP_EVERY_FIELD,
    MAP_SECTIONS,
    SCREEN_PARAMETERS,
    SCREEN_PLACES,
    SCREEN_SECTIONS,
    SCREEN_STEPS,
    benchmark_of,
    embed_with,
    map_of,
    report_on,
)
from phenoscale.operations.pipelines.value import Given, Parameter, Pipeline, Place, Section

_NAME = "encoder"

MAP: Final = Pipeline(
    name="map",
    summary="map a new screen with the champion, or another encoder that is there already",
    description="""Map a new screen with the champion, or another encoder that is there already.

Reads the plates, embeds every field, and makes a map, its benchmark rows and a report. Nothing is trained and
nothing registered. No field is left out for its quality, unless the section `curate` says so.""",
    steps=(
        *SCREEN_STEPS,
        embed_with(Given("encoder"), variant=_NAME),
        map_of(_NAME),
        benchmark_of((_NAME,)),
        report_on((_NAME,), embeddings=(_NAME,), further={}),
    ),
    sections={
        **SCREEN_SECTIONS,
        "curate": KEEP_EVERY_FIELD,
        **MAP_SECTIONS,
        "benchmark": Section("benchmark", defaults={"reference": _NAME}),
        "report": Section("report", defaults={"shown_map": _NAME}),
    },
    places={
        **SCREEN_PLACES,
        "encoder": Place("encoder: models:/NAME@ALIAS, or the output of a stage", default=CHAMPION),
    },
    parameters=(*SCREEN_PARAMETERS, Parameter("encoder", ("encoder",))),
    examples=("map --ingest.path plates", "map --screens work/ingest/KEY --encoder work/probe/KEY/encoder"),
)
