"""A new candidate from a corpus of screens: curate, pretrain, probe, register."""

from typing import Final

from phenoscale.operations.pipelines.links import (
    MODEL_PARAMETER,
    PROBE_SECTIONS,
    SCREEN_PARAMETERS,
    SCREEN_PLACES,
    SCREEN_SECTIONS,
    SCREEN_STEPS,
    TRAINING_PARAMETERS,
    pretrain_and_probe,
)
from phenoscale.operations.pipelines.value import At, Parameter, Pipeline, Section, Step

PRETRAIN: Final = Pipeline(
    name="pretrain",
    summary="train an encoder on a corpus of screens, probe it, and register it as the candidate",
    description="""Train an encoder on a corpus of screens, probe it, and register it as the candidate.

`screens` names the finished screens of the corpus; new plates may be ingested beside them. The candidate
becomes champion by `run challenge` or `promote`.""",
    steps=(
        *SCREEN_STEPS,
        *pretrain_and_probe(),
        Step(
            "register",
            section="registry",
            locations={"encoder": At("probe", "encoder"), "probe": At("probe")},
        ),
    ),
    sections={
        **SCREEN_SECTIONS,
        "pretrain": Section("pretrain"),
        **PROBE_SECTIONS,
        "registry": Section("register"),
    },
    places=SCREEN_PLACES,
    parameters=(
        *SCREEN_PARAMETERS,
        *TRAINING_PARAMETERS,
        Parameter(MODEL_PARAMETER.name, ("registry.name",)),
    ),
    examples=("pretrain --screens s3://bucket/workspace --pretrain.num-epochs 50",),
)
