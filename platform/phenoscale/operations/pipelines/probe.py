"""An encoder under the linear probes of labelled screens."""

from typing import Final

from phenoscale.operations.pipelines import links
from phenoscale.operations.pipelines.value import Given, Parameter, Pipeline, Place

PROBE: Final = Pipeline(
    name="probe",
    summary="probe an encoder on labelled screens, beside random weights and pixel statistics",
    description="""Probe an encoder on labelled screens, beside random weights and pixel statistics.

Measures every block, and writes the encoder up to its best block. The section `probe` says what the labels
are.""",
    steps=(*links.SCREEN_STEPS, *links.probe_beside_baselines(Given("encoder"))),
    sections={**links.SCREEN_SECTIONS, **links.PROBE_SECTIONS},
    places={
        **links.SCREEN_PLACES,
        "encoder": Place("encoder: models:/NAME@ALIAS, or the output of a stage", default=links.CHAMPION),
    },
    parameters=(*links.SCREEN_PARAMETERS, Parameter("encoder", ("encoder",))),
    examples=("probe --encoder work/pretrain/KEY/encoder --screens work/ingest/KEY",),
)
