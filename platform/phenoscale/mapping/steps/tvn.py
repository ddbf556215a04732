"""Typical variation normalization: make the negative controls isotropic, overall and in every batch.

Ando, McLean, Berndl (2017), doi:10.1101/161422, in the form of EFAAR `tvn_on_controls`: standardize on the
controls, rotate onto their principal components, standardize again, then multiply each batch by the inverse
square root of its controls' covariance (divisor C - 1) plus 0.5 times the identity (CORAL). Batches are not
centered again unless asked.
Shapes: N wells, C negative controls, D dimensions, K components, B batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pandas as pd

from phenoscale.config import setting
from phenoscale.errors import UserError
from phenoscale.mapping.batches import (
    batch_labels,
    batch_positions,
    chosen_wells,
    refuse_small_batches,
    rows_by_label,
)
from phenoscale.mapping.steps.pca import project
from phenoscale.mapping.steps.step import (
    BATCH_HELP,
    FALLBACK_HELP,
    MIN_CONTROLS_HELP,
    BatchKey,
    Fallback,
    WellStep,
)
from phenoscale.schema.columns import Embeddings
from phenoscale.stats.moments import (
    Array,
    Moments,
    inverse_square_root,
    moments,
    row_blocks,
    sorted_eigenpairs,
)


class TvnStep(WellStep):
    """Typical variation normalization: make the negative controls isotropic, overall and in each batch."""

    name: Literal["tvn"] = "tvn"
    batch_key: BatchKey = setting("experiment", help=BATCH_HELP)
    num_components: int | None = setting(None, ge=1, help="components kept after the rotation; none: all")
    regularization: float = setting(
        0.5, gt=0, help="multiple of the identity added to each batch's covariance"
    )
    recenter_per_batch: bool = setting(False, help="also subtract the mean of each batch's negative controls")
    min_controls: int = setting(2, ge=2, help=MIN_CONTROLS_HELP)
    fallback: Fallback = setting("error", help=FALLBACK_HELP)
    variance_floor: float = setting(
        1e-9, ge=0, lt=1, help="components with less than this share of the largest variance are dropped"
    )

    def fit(self, embeddings_ND: Embeddings, wells: pd.DataFrame) -> Tvn:
        """Fit the step on wells."""
        return fit_tvn(embeddings_ND, wells, step=self)


@dataclass(frozen=True)
class Tvn:
    """Fitted whitening of all negative controls, and of those of each batch.

    Attributes:
        batch_key: what a batch is.
        batches: their names; row i of the arrays is batch i.
        mean: [D] of all negative controls.
        whitening: [D, K], steps 1 to 3 as one matrix.
        shifts: [B, K], subtracted after whitening; zero unless recentered per batch.
        rotations: [B, K, K], inverse square roots of the regularized covariances.
        fallbacks: batches with too few negative controls, with what stands in for them.
    """

    name: ClassVar[str] = "tvn"
    batch_key: str
    batches: tuple[str, ...]
    mean: Array
    whitening: Array
    shifts: Array
    rotations: Array
    fallbacks: Mapping[str, str]

    def transform(self, embeddings_ND: Embeddings, wells: pd.DataFrame) -> Embeddings:
        """Map vectors of wells; their type is kept, the arithmetic is float64."""
        known = {batch: index for index, batch in enumerate(self.batches)}
        index_N = batch_positions(batch_labels(wells, self.batch_key), known=known, step=self.name)
        mapped = np.empty((len(embeddings_ND), self.whitening.shape[1]), embeddings_ND.dtype)
        for index in range(len(self.batches)):
            of_batch = np.flatnonzero(index_N == index)
            for block in row_blocks(len(of_batch)):
                rows = of_batch[block]
                white = (embeddings_ND[rows] - self.mean) @ self.whitening
                mapped[rows] = (white - self.shifts[index]) @ self.rotations[index]
        return mapped

    def parameters(self) -> dict[str, Array]:
        """The fitted arrays."""
        return {
            "mean": self.mean,
            "whitening": self.whitening,
            "shifts": self.shifts,
            "rotations": self.rotations,
        }


def fit_tvn(embeddings_ND: Embeddings, wells: pd.DataFrame, *, step: TvnStep) -> Tvn:
    """Fit on the negative controls.

    Raises:
        UserError: fewer negative controls than dimensions, or a batch with too few and no fallback.
    """
    controls = chosen_wells(wells, "negative_controls", step=step.name)
    pooled = moments(embeddings_ND, rows=np.flatnonzero(controls), full=True)
    whitening = _whitening(pooled, step=step)
    labels = batch_labels(wells, step.batch_key)
    by_batch = {batch: rows[controls[rows]] for batch, rows in rows_by_label(labels).items()}
    counts = {batch: len(rows) for batch, rows in by_batch.items()}
    if step.fallback == "error":
        refuse_small_batches(
            counts, minimum=step.min_controls, step=step.name, statistics="negative_controls"
        )
    num_components = whitening.shape[1]
    shifts = np.zeros((len(by_batch), num_components))
    rotations = np.empty((len(by_batch), num_components, num_components))
    for index, rows in enumerate(by_batch.values()):
        if len(rows) < step.min_controls:
            # Whitened pooled controls have the identity as covariance: the same shrink as the other batches.
            rotations[index] = np.eye(num_components) / np.sqrt(1 + step.regularization)
            continue
        white = project(embeddings_ND[rows].astype(np.float64), mean_D=pooled.mean, projection_DK=whitening)
        found = moments(white, full=True)
        rotations[index] = inverse_square_root(
            found.covariance(ddof=1) + step.regularization * np.eye(num_components)
        )
        if step.recenter_per_batch:
            shifts[index] = found.mean
    small = [batch for batch, count in counts.items() if count < step.min_controls]
    return Tvn(
        batch_key=step.batch_key,
        batches=tuple(by_batch),
        mean=pooled.mean,
        whitening=whitening,
        shifts=shifts,
        rotations=rotations,
        fallbacks=dict.fromkeys(small, "all batches"),
    )


def _whitening(pooled: Moments, *, step: TvnStep) -> Array:
    """Standardize, rotate, standardize: one [D, K] matrix."""
    dimensions = len(pooled.mean)
    wanted = step.num_components or dimensions
    if pooled.count <= min(wanted, dimensions):
        raise UserError(
            f"TVN needs more controls than dimensions, got {pooled.count} negative controls for "
            f"{min(wanted, dimensions)} dimensions; reduce with PCA first (a pca step, or num_components) or "
            "pool controls over more plates"
        )
    scale = pooled.deviation
    values, vectors = sorted_eigenpairs(pooled.covariance(ddof=0) / np.outer(scale, scale))
    spanned = int(np.sum(values > step.variance_floor * values[0]))
    if step.num_components is not None and step.num_components > spanned:
        raise UserError(
            f"TVN is asked for {step.num_components} components, but the negative controls span only "
            f"{spanned}; "
            "lower num_components"
        )
    kept = min(wanted, spanned)
    return np.asarray(vectors[:, :kept] / scale[:, None] / np.sqrt(values[:kept]), np.float64)
