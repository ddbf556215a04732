"""The whole chain: from plates to a promoted encoder and a report."""

from typing import Final

from phenoscale.operations.pipelines.links import (
    BASELINES,
    MAP_SECTIONS,
    MODEL_PARAMETER,
    PROBE_SECTIONS,
    PROMOTE,
    SCREEN_PARAMETERS,
    SCREEN_PLACES,
    SCREEN_SECTIONS,
    SCREEN_STEPS,
    TRAINED,
    TRAINING_PARAMETERS,
    benchmark_of,
    embed_probed,
    map_of,
    pretrain_and_probe,
    report_on,
)
from phenoscale.operations.pipelines.value import At, Pipeline, Section, Step

_ENCODERS = (TRAINED, *BASELINES)

FULL: Final = Pipeline(
    name="full",
    summary="run the whole chain, from plates to a promoted encoder and a report",
    description="""Run the whole chain, from plates to a promoted encoder and a report.

Each section is the config of the stage of that name; the places where a stage finds the outputs of earlier
ones are filled in. Steps whose code, settings and inputs have not changed are reused, so the same command
goes on where a killed run stopped. Without a `simulate` section the plates are those that `ingest` names, and
`screens` may name finished screens, beside them or in their place.""",
    steps=(
        *SCREEN_STEPS,
        *pretrain_and_probe(),
        *(embed_probed(name, probed=TRAINED) for name in _ENCODERS),
        *(map_of(name) for name in _ENCODERS),
        benchmark_of(_ENCODERS),
        Step(
            "register",
            section="registry",
            locations={
                "encoder": At("probe", "encoder"),
                "benchmark": At("benchmark"),
                "probe": At("probe"),
            },
        ),
        PROMOTE,
        report_on(
            _ENCODERS,
            embeddings=_ENCODERS,
            further={
                "pretrain": At("pretrain"),
                "probe": At("probe"),
                "registered": At("register"),
                "promoted": At("promote"),
            },
        ),
    ),
    sections={
        **SCREEN_SECTIONS,
        "pretrain": Section("pretrain"),
        **PROBE_SECTIONS,
        **MAP_SECTIONS,
        "benchmark": Section("benchmark"),
        "registry": Section("register"),
        "promote": Section("promote"),
        "report": Section("report"),
    },
    places=SCREEN_PLACES,
    parameters=(*SCREEN_PARAMETERS, *TRAINING_PARAMETERS, MODEL_PARAMETER),
    examples=("full --config demo", "full --config my-screen.yaml --workspace work"),
)
