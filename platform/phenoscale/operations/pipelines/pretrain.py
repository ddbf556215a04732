"""A new candidate from a corpus of screens: curate, pretrain, probe, register."""

from typing import Final

from phenoscale.operations.pipelines import links
from phenoscale.operations.pipelines.value import At, Parameter, Pipeline, Section, Step

PRETRAIN: Final = Pipeline(
    name="pretrain",
    summary="train an encoder on a corpus of screens, probe it, and register it as the candidate",
    description="""Train an encoder on a corpus of screens, probe it, and register it as the candidate.

`screens` names the finished screens of the corpus; new plates may be ingested beside them. The candidate
becomes champion by `run challenge` or `promote`.""",
    steps=(
        *links.SCREEN_STEPS,
        *links.pretrain_and_probe(),
        Step(
            "register",
            section="registry",
            locations={"encoder": At("probe", "encoder"), "probe": At("probe")},
        ),
    ),
    sections={
        **links.SCREEN_SECTIONS,
        "pretrain": Section("pretrain"),
        **links.PROBE_SECTIONS,
        "registry": Section("register"),
    },
    places=links.SCREEN_PLACES,
    parameters=(
        *links.SCREEN_PARAMETERS,
        *links.TRAINING_PARAMETERS,
        Parameter(links.MODEL_PARAMETER.name, ("registry.name",)),
    ),
    examples=("pretrain --screens s3://bucket/workspace --pretrain.num-epochs 50",),
)
