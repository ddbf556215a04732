"""An encoder under the linear probes of labelled screens."""

from typing import Final

from phenoscale.operations.pipelines.links import (
    CHAMPION,
    PROBE_SECTIONS,
    SCREEN_PARAMETERS,
    SCREEN_PLACES,
    SCREEN_SECTIONS,
    SCREEN_STEPS,
    probe_beside_baselines,
)
from phenoscale.operations.pipelines.value import Given, Parameter, Pipeline, Place

PROBE: Final = Pipeline(
    name="probe",
    summary="probe an encoder on labelled screens, beside random weights and pixel statistics",
    description="""Probe an encoder on labelled screens, beside random weights and pixel statistics.

Measures every block, and writes the encoder up to its best block. The section `probe` says what the labels
are.""",
    steps=(*SCREEN_STEPS, *probe_beside_baselines(Given("encoder"))),
    sections={**SCREEN_SECTIONS, **PROBE_SECTIONS},
    places={
        **SCREEN_PLACES,
        "encoder": Place("encoder: models:/NAME@ALIAS, or the output of a stage", default=CHAMPION),
    },
    parameters=(*SCREEN_PARAMETERS, Parameter("encoder", ("encoder",))),
    examples=("probe --encoder work/pretrain/KEY/encoder --screens work/ingest/KEY",),
)
