"""Principal components of the wells, by eigendecomposition of their covariance.

Shapes: N wells, D dimensions, K kept components.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pandas as pd

from phenoscale.config import setting
from phenoscale.errors import UserError
from phenoscale.mapping.batches import chosen_wells
from phenoscale.mapping.steps.step import STATISTICS_HELP, Statistics, WellStep
from phenoscale.schema.columns import Embeddings
from phenoscale.stats.moments import Array, moments, row_blocks, sorted_eigenpairs


class PcaStep(WellStep):
    """Rotate onto the principal components, the largest first."""

    name: Literal["pca"] = "pca"
    num_components: int | None = setting(
        None,
        ge=1,
        help="components to keep; none, or more than there are dimensions: all that the wells span",
    )
    statistics: Statistics = setting("negative_controls", help=STATISTICS_HELP)
    whiten: bool = setting(False, help="divide each component by its standard deviation")
    variance_floor: float = setting(
        1e-9, ge=0, lt=1, help="components with less than this share of the largest variance are dropped"
    )

    def fit(self, embeddings_ND: Embeddings, wells: pd.DataFrame) -> Pca:
        """Fit the step on wells."""
        return fit_pca(embeddings_ND, wells, step=self)


@dataclass(frozen=True)
class Pca:
    """A fitted rotation.

    Attributes:
        mean: [D], subtracted first.
        projection: [D, K], already divided by the deviations when whitening.
        variances: [K], divisor N.
    """

    name: ClassVar[str] = "pca"
    mean: Array
    projection: Array
    variances: Array

    def transform(self, embeddings_ND: Embeddings, wells: pd.DataFrame) -> Embeddings:
        """Map vectors of wells; their type is kept, the arithmetic is float64."""
        del wells  # one rotation for every well
        return project(embeddings_ND, mean_D=self.mean, projection_DK=self.projection)

    def parameters(self) -> dict[str, Array]:
        """The fitted arrays."""
        return {"mean": self.mean, "projection": self.projection, "variances": self.variances}


def fit_pca(embeddings_ND: Embeddings, wells: pd.DataFrame, *, step: PcaStep) -> Pca:
    """Fit the rotation on the chosen wells.

    Raises:
        UserError: the embedding has the components that are asked for, but the wells do not span them.
    """
    rows = np.flatnonzero(chosen_wells(wells, step.statistics, step=step.name))
    found = moments(embeddings_ND, rows=rows, full=True)
    values_D, vectors_DD = sorted_eigenpairs(found.covariance(ddof=0))
    # N wells around their mean span N - 1 dimensions; what is left is rounding.
    spanned = min(int(np.sum(values_D > step.variance_floor * values_D[0])), found.count - 1)
    wanted = spanned if step.num_components is None else step.num_components
    if wanted >= len(values_D):
        # An embedding this short has nothing to leave out: one list of steps serves encoders of any width.
        wanted = spanned
    if wanted > spanned or spanned == 0:
        raise UserError(
            f"pca is asked for {wanted} components, but {found.count} wells of {len(values_D)} dimensions "
            "span "
            f"only {spanned}; lower num_components, or fit on statistics: all"
        )
    projection = vectors_DD[:, :wanted]
    if step.whiten:
        projection = projection / np.sqrt(values_D[:wanted])
    return Pca(found.mean, projection, values_D[:wanted])


def project(embeddings_ND: Embeddings, *, mean_D: Array, projection_DK: Array) -> Embeddings:
    """Subtract a mean and multiply, a block of rows at a time in float64."""
    mapped = np.empty((len(embeddings_ND), projection_DK.shape[1]), embeddings_ND.dtype)
    for block in row_blocks(len(embeddings_ND)):
        mapped[block] = (embeddings_ND[block] - mean_D) @ projection_DK
    return mapped
