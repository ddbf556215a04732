"""The chain of map steps that tests at embedding level share: every kind of step once."""

from phenoscale.mapping.steps.aggregate import AggregateStep
from phenoscale.mapping.steps.arm_correction import ArmCorrectionStep
from phenoscale.mapping.steps.center import CenterStep
from phenoscale.mapping.steps.pca import PcaStep
from phenoscale.mapping.steps.position import PositionStep
from phenoscale.mapping.steps.tvn import TvnStep


def every_step(*, num_components, min_num_genes):
    """Center by plate, position, PCA, TVN, spherical mean over guides, arm correction."""
    return (
        CenterStep(batch_key="plate"),
        PositionStep(),
        PcaStep(num_components=num_components),
        TvnStep(),
        AggregateStep(method="spherical", via_guide=True),
        ArmCorrectionStep(min_num_genes=min_num_genes),
    )
