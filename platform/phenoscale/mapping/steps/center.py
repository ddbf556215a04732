"""Center and center-scale: subtract each batch's negative-control mean, divide by a standard deviation.

Scales follow scikit-learn's StandardScaler (divisor N, a constant column gets scale 1). Reference: MAE paper
(CVPR 2024) Table 2 and EFAAR `centerscale_on_controls`. Shapes: N wells, D dimensions, B batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from phenoscale.config import setting
from phenoscale.mapping.batches import (
    Labels,
    Mask,
    batch_labels,
    batch_positions,
    chosen_wells,
    refuse_small_batches,
    rows_by_label,
)
from phenoscale.mapping.steps.step import (
    BATCH_HELP,
    FALLBACK_HELP,
    MIN_CONTROLS_HELP,
    STATISTICS_HELP,
    BatchKey,
    Fallback,
    Statistics,
    WellStep,
)
from phenoscale.schema.columns import Embeddings
from phenoscale.stats.moments import Array, Moments, handle_zero_scales, moments, row_blocks


class CenterStep(WellStep):
    """Subtract the mean of each batch's negative controls."""

    name: Literal["center"] = "center"
    batch_key: BatchKey = setting("experiment", help=BATCH_HELP)
    statistics: Statistics = setting("negative_controls", help=STATISTICS_HELP)
    min_controls: int = setting(2, ge=1, help=MIN_CONTROLS_HELP)
    fallback: Fallback = setting("error", help=FALLBACK_HELP)

    def fit(self, embeddings_ND: Embeddings, wells: pd.DataFrame) -> Center:
        """Fit the step on wells."""
        return fit_center(embeddings_ND, wells, step=self)


class CenterScaleStep(WellStep):
    """Subtract the mean and divide by the standard deviation of each batch's negative controls.

    A standard deviation of a handful of wells is mostly noise (six wells cost 14 points of mechanism accuracy
    on BBBC021): `scale: pooled` divides by the deviation within batches, pooled over all of them.
    """

    name: Literal["center_scale"] = "center_scale"
    batch_key: BatchKey = setting("experiment", help=BATCH_HELP)
    statistics: Statistics = setting("negative_controls", help=STATISTICS_HELP)
    scale: Literal["batch", "pooled"] = setting(
        "batch", help="standard deviation of the batch itself, or the one within batches pooled over all"
    )
    min_controls: int = setting(2, ge=1, help=MIN_CONTROLS_HELP)
    fallback: Fallback = setting("error", help=FALLBACK_HELP)

    def fit(self, embeddings_ND: Embeddings, wells: pd.DataFrame) -> Center:
        """Fit the step on wells."""
        return fit_center(embeddings_ND, wells, step=self)


@dataclass(frozen=True)
class Center:
    """Fitted means, and scales if there are any, of each batch.

    Attributes:
        name: `center` or `center_scale`.
        batch_key: what a batch is.
        batches: their names; row i of the arrays is batch i.
        means: [B, D].
        scales: [B, D], None for `center`.
        fallbacks: batches whose own wells were too few, with what stands in for them.
    """

    name: str
    batch_key: str
    batches: tuple[str, ...]
    means: Array
    scales: Array | None
    fallbacks: Mapping[str, str]

    def transform(self, embeddings_ND: Embeddings, wells: pd.DataFrame) -> Embeddings:
        """Map vectors of wells; their type is kept, the arithmetic is float64."""
        known = {batch: index for index, batch in enumerate(self.batches)}
        index_N = batch_positions(batch_labels(wells, self.batch_key), known=known, step=self.name)
        mapped = np.empty_like(embeddings_ND)
        for block in row_blocks(len(embeddings_ND)):
            centered = embeddings_ND[block] - self.means[index_N[block]]
            mapped[block] = centered if self.scales is None else centered / self.scales[index_N[block]]
        return mapped

    def parameters(self) -> dict[str, Array]:
        """The fitted arrays."""
        return {"means": self.means} if self.scales is None else {"means": self.means, "scales": self.scales}


def fit_center(
    embeddings_ND: Embeddings, wells: pd.DataFrame, *, step: CenterStep | CenterScaleStep
) -> Center:
    """Fit means (and scales) of each batch.

    Raises:
        UserError: no negative controls, or a batch with too few of them and no fallback.
    """
    chosen = chosen_wells(wells, step.statistics, step=step.name)
    labels = batch_labels(wells, step.batch_key)
    own = _moments_by_label(embeddings_ND, labels, chosen_N=chosen)
    counts = {batch: found.count for batch, found in own.items()}
    if step.fallback == "error":
        refuse_small_batches(counts, minimum=step.min_controls, step=step.name, statistics=step.statistics)
    small = [batch for batch, count in counts.items() if count < step.min_controls]
    stand_ins = _stand_ins(embeddings_ND, wells, chosen=chosen, minimum=step.min_controls) if small else {}
    experiments = dict(zip(labels, batch_labels(wells, "experiment"), strict=True)) if small else {}
    fallbacks: dict[str, str] = {}
    means = []
    for batch, found in own.items():
        if batch not in small:
            means.append(found.mean)
            continue
        place = experiments[batch] if experiments[batch] in stand_ins else ""
        fallbacks[batch] = f"experiment {place}" if place else "all batches"
        means.append(stand_ins[place].mean)
    return Center(
        name=step.name,
        batch_key=step.batch_key,
        batches=tuple(own),
        means=np.stack(means),
        scales=_scales(list(own.values()), step=step) if isinstance(step, CenterScaleStep) else None,
        fallbacks=fallbacks,
    )


def _moments_by_label(embeddings_ND: Embeddings, labels_N: Labels, *, chosen_N: Mask) -> dict[str, Moments]:
    return {
        batch: moments(embeddings_ND, rows=rows[chosen_N[rows]], full=False)
        for batch, rows in rows_by_label(labels_N).items()
    }


def _stand_ins(
    embeddings_ND: Embeddings, wells: pd.DataFrame, *, chosen: Mask, minimum: int
) -> dict[str, Moments]:
    """Moments of the experiments that have enough wells, and of everything under the empty name."""
    experiments = _moments_by_label(embeddings_ND, batch_labels(wells, "experiment"), chosen_N=chosen)
    enough = {name: found for name, found in experiments.items() if found.count >= minimum}
    return {**enough, "": moments(embeddings_ND, rows=np.flatnonzero(chosen), full=False)}


def _scales(own: list[Moments], *, step: CenterScaleStep) -> Array:
    total = sum(found.count for found in own)
    scatter = np.sum([found.scatter for found in own], axis=0)
    magnitude = np.max([np.abs(found.mean) for found in own], axis=0)
    pooled = handle_zero_scales(np.sqrt(scatter / total), mean_D=magnitude)
    if step.scale == "pooled":
        return np.tile(pooled, (len(own), 1))
    return np.stack([found.deviation if found.count >= step.min_controls else pooled for found in own])
