"""The map of a new screen, made with an encoder that is there already: the champion."""

from typing import Final

from phenoscale.operations.pipelines import links
from phenoscale.operations.pipelines.value import Given, Parameter, Pipeline, Place, Section

_NAME = "encoder"

MAP: Final = Pipeline(
    name="map",
    summary="map a new screen with the champion, or another encoder that is there already",
    description="""Map a new screen with the champion, or another encoder that is there already.

Reads the plates, embeds every field, and makes a map, its benchmark rows and a report. Nothing is trained and
nothing registered. No field is left out for its quality, unless the section `curate` says so.""",
    steps=(
        *links.SCREEN_STEPS,
        links.embed_with(Given("encoder"), variant=_NAME),
        links.map_of(_NAME),
        links.benchmark_of((_NAME,)),
        links.report_on((_NAME,), embeddings=(_NAME,), further={}),
    ),
    sections={
        **links.SCREEN_SECTIONS,
        "curate": links.KEEP_EVERY_FIELD,
        **links.MAP_SECTIONS,
        "benchmark": Section("benchmark", defaults={"reference": _NAME}),
        "report": Section("report", defaults={"shown_map": _NAME}),
    },
    places={
        **links.SCREEN_PLACES,
        "encoder": Place("encoder: models:/NAME@ALIAS, or the output of a stage", default=links.CHAMPION),
    },
    parameters=(*links.SCREEN_PARAMETERS, Parameter("encoder", ("encoder",))),
    examples=("map --ingest.path plates", "map --screens work/ingest/KEY --encoder work/probe/KEY/encoder"),
)
