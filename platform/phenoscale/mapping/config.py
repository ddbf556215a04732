"""Settings of `map`: the ordered steps, the strata and what stays out of the map."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic import model_validator

from phenoscale.config import Config, Runtime, location, setting
from phenoscale.errors import UserError

BatchKey = Literal["experiment", "plate", "none"]
Statistics = Literal["negative_controls", "all"]
Term = Literal["row", "row_squared", "column", "column_squared", "ring", "edge"]

_STATISTICS = "wells that the statistics are fitted on: negative_controls, or all wells"
_BATCH = "wells that are fitted together: those of an experiment, of a plate, or none: all wells"
_MIN_CONTROLS = "fewest wells that a batch's own statistics may rest on"
_FALLBACK = (
    "a batch with too few wells: error, or pooled: its mean is the experiment's, and that of the whole table "
    "where the experiment has too few as well; scales and covariances are those pooled over batches"
)


class CenterStep(Config):
    """Subtract the mean of each batch's negative controls."""

    name: Literal["center"] = "center"
    batch_key: BatchKey = setting("experiment", help=_BATCH)
    statistics: Statistics = setting("negative_controls", help=_STATISTICS)
    min_controls: int = setting(2, ge=1, help=_MIN_CONTROLS)
    fallback: Literal["error", "pooled"] = setting("error", help=_FALLBACK)


class CenterScaleStep(Config):
    """Subtract the mean and divide by the standard deviation of each batch's negative controls.

    A standard deviation of a handful of wells is mostly noise (six wells cost 14 points of mechanism accuracy
    on BBBC021): `scale: pooled` divides by the deviation within batches, pooled over all of them.
    """

    name: Literal["center_scale"] = "center_scale"
    batch_key: BatchKey = setting("experiment", help=_BATCH)
    statistics: Statistics = setting("negative_controls", help=_STATISTICS)
    scale: Literal["batch", "pooled"] = setting(
        "batch", help="standard deviation of the batch itself, or the one within batches pooled over all"
    )
    min_controls: int = setting(2, ge=1, help=_MIN_CONTROLS)
    fallback: Literal["error", "pooled"] = setting("error", help=_FALLBACK)


class PcaStep(Config):
    """Rotate onto the principal components, the largest first."""

    name: Literal["pca"] = "pca"
    num_components: int | None = setting(
        None,
        ge=1,
        help="components to keep; none, or more than there are dimensions: all that the wells span",
    )
    statistics: Statistics = setting("negative_controls", help=_STATISTICS)
    whiten: bool = setting(False, help="divide each component by its standard deviation")
    variance_floor: float = setting(
        1e-9, ge=0, lt=1, help="components with less than this share of the largest variance are dropped"
    )


class TvnStep(Config):
    """Typical variation normalization: make the negative controls isotropic, overall and in each batch."""

    name: Literal["tvn"] = "tvn"
    batch_key: BatchKey = setting("experiment", help=_BATCH)
    num_components: int | None = setting(None, ge=1, help="components kept after the rotation; none: all")
    regularization: float = setting(
        0.5, gt=0, help="multiple of the identity added to each batch's covariance"
    )
    recenter_per_batch: bool = setting(False, help="also subtract the mean of each batch's negative controls")
    min_controls: int = setting(2, ge=2, help=_MIN_CONTROLS)
    fallback: Literal["error", "pooled"] = setting("error", help=_FALLBACK)
    variance_floor: float = setting(
        1e-9, ge=0, lt=1, help="components with less than this share of the largest variance are dropped"
    )


class PositionStep(Config):
    """Subtract a smooth effect of the plate position, fitted on wells after centering them plate by plate."""

    name: Literal["position"] = "position"
    batch_key: BatchKey = setting("none", help=_BATCH)
    statistics: Statistics = setting("negative_controls", help=_STATISTICS)
    terms: tuple[Term, ...] = setting(
        ("row", "row_squared", "column", "column_squared", "edge"),
        min_length=1,
        help="terms of the position: linear and squared row and column, ring (square of the larger distance "
        "from the center, by row or column), edge (1 in the outermost rows and columns)",
    )


class AggregateStep(Config):
    """Average the wells of each perturbation and stratum."""

    name: Literal["aggregate"] = "aggregate"
    method: Literal["mean", "median", "spherical"] = setting(
        "mean", help="mean, median, or spherical: the normalized mean of the normalized wells"
    )
    via_guide: bool = setting(False, help="average the wells of each guide first, then the guides")
    origin: Literal["negative_controls", "none"] = setting(
        "negative_controls", help="mean of the stratum's negative controls is subtracted first, or nothing is"
    )


class ArmCorrectionStep(Config):
    """Subtract from every gene the mean of the unexpressed genes of its chromosome arm (proximity bias).

    The mean of a few genes is noisy, and all genes of the arm inherit its noise: with few unexpressed genes
    take the mean over all genes of the arm, which assumes that no arm is one phenotype.
    """

    name: Literal["arm_correction"] = "arm_correction"
    reference: Literal["unexpressed", "all"] = setting(
        "unexpressed", help="genes whose mean is subtracted: the arm's unexpressed genes, or all of its genes"
    )
    min_num_genes: int = setting(
        20, ge=0, help="an arm is corrected when it has more reference genes than this"
    )
    expression_column: str = setting("zfpkm", help="column of the gene table that holds the expression")
    unexpressed_below: float = setting(-3.0, help="a gene is unexpressed below this value")


Step = Annotated[
    CenterStep | CenterScaleStep | PcaStep | TvnStep | PositionStep | AggregateStep | ArmCorrectionStep,
    pydantic.Field(discriminator="name"),
]
WellStep = CenterStep | CenterScaleStep | PcaStep | TvnStep | PositionStep


class MapConfig(Config):
    """Turn well embeddings into a map of perturbations by an ordered list of steps.

    Well-level steps (center, center_scale, pca, tvn, position) stand before `aggregate`, gene-level ones
    (arm_correction) after it. Statistics are fitted on negative controls unless a step says otherwise, and
    every fitted parameter is kept with the map. Controls stay out of the map.
    """

    embeddings: str = location("", help="output of `embed`, or any embedding table of wells")
    genes: str = location("", help="CSV with gene, arm and expression, for arm_correction")
    steps: tuple[Step, ...] = setting(
        (CenterScaleStep(), AggregateStep()), help="the steps, in order, as YAML: [{name: center}, ...]"
    )
    strata: tuple[str, ...] = setting(
        ("cell_type", "timepoint_h"), help="columns whose values are never averaged over"
    )
    include_positive_controls: bool = setting(False, help="keep positive controls in the map")
    keep_steps: bool = setting(True, help="also write the map after each step, to show what each step did")
    runtime: Runtime = Runtime()

    @model_validator(mode="after")
    def _order_of_steps(self) -> MapConfig:
        names = [step.name for step in self.steps]
        if names.count("aggregate") != 1:
            raise UserError(
                f"steps are {names}, but a map needs exactly one `aggregate`; "
                "put it after the well-level steps and before arm_correction"
            )
        middle = names.index("aggregate")
        late = [name for name in names[middle + 1 :] if name != "arm_correction"]
        early = [name for name in names[:middle] if name == "arm_correction"]
        if late or early:
            raise UserError(
                f"steps are {names}, but {late + early} stands on the wrong side of `aggregate`: well-level "
                "steps "
                "come before it, gene-level ones (arm_correction) after it; reorder them"
            )
        return self
