"""The whole chain: from plates to a promoted encoder and a report."""

from typing import Final

from phenoscale.operations.pipelines import links
from phenoscale.operations.pipelines.value import At, Pipeline, Section, Step

_ENCODERS = (links.TRAINED, *links.BASELINES)

FULL: Final = Pipeline(
    name="full",
    summary="run the whole chain, from plates to a promoted encoder and a report",
    description="""Run the whole chain, from plates to a promoted encoder and a report.

Each section is the config of the stage of that name; the places where a stage finds the outputs of earlier
ones are filled in. Steps whose code, settings and inputs have not changed are reused, so the same command
goes on where a killed run stopped. Without a `simulate` section the plates are those that `ingest` names, and
`screens` may name finished screens, beside them or in their place.""",
    steps=(
        *links.SCREEN_STEPS,
        *links.pretrain_and_probe(),
        *(links.embed_probed(name, probed=links.TRAINED) for name in _ENCODERS),
        *(links.map_of(name) for name in _ENCODERS),
        links.benchmark_of(_ENCODERS),
        Step(
            "register",
            section="registry",
            locations={
                "encoder": At("probe", "encoder"),
                "benchmark": At("benchmark"),
                "probe": At("probe"),
            },
        ),
        links.PROMOTE,
        links.report_on(
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
        **links.SCREEN_SECTIONS,
        "pretrain": Section("pretrain"),
        **links.PROBE_SECTIONS,
        **links.MAP_SECTIONS,
        "benchmark": Section("benchmark"),
        "registry": Section("register"),
        "promote": Section("promote"),
        "report": Section("report"),
    },
    places=links.SCREEN_PLACES,
    parameters=(*links.SCREEN_PARAMETERS, *links.TRAINING_PARAMETERS, links.MODEL_PARAMETER),
    examples=("full --config demo", "full --config my-screen.yaml --workspace work"),
)
