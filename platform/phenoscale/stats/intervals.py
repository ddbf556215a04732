"""Intervals: bootstrap over groups and over pairs of genes, and the binomial interval of Wilson (1927).

Shapes: B resamples, G groups, N items, K classes, Q pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

Array = npt.NDArray[np.float64]
Positions = npt.NDArray[np.intp]
Counts = npt.NDArray[np.int16]
_CHUNK = 4_000_000
_RESAMPLES_AT_ONCE = 100
_NORMAL_975 = 1.959963984540054


class EstimateFields(TypedDict):
    """What an estimate is in a row."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def as_fields(self) -> EstimateFields:
        """The value and its interval by their names in a row."""
        return {"value": self.value, "low": self.low, "high": self.high}


def wilson_interval(successes: int, *, total: int) -> Estimate:
    """A proportion and its Wilson score interval at 95 %; NaN without trials."""
    if total == 0:
        return Estimate(np.nan, np.nan, np.nan)
    share, z2 = successes / total, _NORMAL_975**2
    center = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _NORMAL_975 / (1 + z2 / total) * np.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    return Estimate(share, float(max(center - half, 0.0)), float(min(center + half, 1.0)))


def resample_counts(num_units: int, *, num_resamples: int, generator: np.random.Generator) -> Counts:
    """How often each unit is drawn in each bootstrap resample, [B, units]; int16 to stay small."""
    counts = np.empty((num_resamples, num_units), np.int16)
    for resample in counts:
        resample[:] = np.bincount(generator.integers(0, num_units, num_units), minlength=num_units)
    return counts


def percentile_interval(value: float, *, resampled_B: Array) -> Estimate:
    """A value with the central 95 % of its resamples; resamples that could not be computed are left out."""
    usable = resampled_B[np.isfinite(resampled_B)]
    if not len(usable):
        return Estimate(value, np.nan, np.nan)
    low, high = np.quantile(usable, [0.025, 0.975])
    return Estimate(value, float(low), float(high))


def centered_interval(value: float, *, resampled_B: Array, highest: float = np.inf) -> Estimate:
    """A value with the central 95 % of its resamples, moved so that their median lies on the value.

    For statistics that cannot fall below 0 and whose resamples are larger than they are: distances between
    distributions, R^2. The percentiles of such resamples can both lie above the value. The ends are
    value - (median - 2.5 % percentile) and value + (97.5 % percentile - median), clipped at 0 and `highest`,
    so that the interval holds the value; resamples that could not be computed are left out.
    """
    usable = resampled_B[np.isfinite(resampled_B)]
    if not len(usable):
        return Estimate(value, np.nan, np.nan)
    low, middle, high = np.quantile(usable, [0.025, 0.5, 0.975])
    return Estimate(
        value,
        min(max(float(value - (middle - low)), 0.0), value),
        max(min(float(value + (high - middle)), highest), value),
    )


def mean_over_pairs(values_Q: Array, *, pairs_Q2: Positions, counts_BN: Counts) -> Array:
    """Means of a value of pairs in bootstrap resamples of their members, [B].

    A pair whose members are drawn a and b times counts a * b times: pairs that share a gene move together.
    """
    members, flat = np.unique(pairs_Q2, return_inverse=True)
    rows, columns = flat.reshape(pairs_Q2.shape).T
    shape = (len(members), len(members))
    # The weighted sum over pairs is the quadratic form w' V w of a sparse V: no weight per pair is stored.
    scored = csr_array((values_Q, (rows, columns)), shape=shape)
    counted = csr_array((np.ones(len(values_Q)), (rows, columns)), shape=shape)
    means = np.full(len(counts_BN), np.nan)
    for start in range(0, len(counts_BN), _RESAMPLES_AT_ONCE):
        weights_MB = counts_BN[start : start + _RESAMPLES_AT_ONCE, members].T.astype(float, order="C")
        total = np.einsum("mb,mb->b", weights_MB, counted @ weights_MB)
        right = np.einsum("mb,mb->b", weights_MB, scored @ weights_MB)
        usable = total > 0
        means[start : start + _RESAMPLES_AT_ONCE][usable] = right[usable] / total[usable]
    return means


def bootstrap_pair_mean(values_Q: Array, *, pairs_Q2: Positions, counts_BN: Counts) -> Estimate:
    """Mean over pairs with an interval from resampling the members (genes) that the pairs connect.

    One pair alone has no interval: it has the same mean in every resample.
    """
    if len(values_Q) < 2:
        return Estimate(float(values_Q[0]) if len(values_Q) else np.nan, np.nan, np.nan)
    resampled = mean_over_pairs(values_Q, pairs_Q2=pairs_Q2, counts_BN=counts_BN)
    return percentile_interval(float(values_Q.mean()), resampled_B=resampled)


def bootstrap_mean(values_N: Array, *, num_resamples: int, seed: int) -> Estimate:
    """Mean with an interval from resampling its items; NaN without items."""
    if not len(values_N):
        return Estimate(np.nan, np.nan, np.nan)
    generator = np.random.default_rng(seed)
    resampled = np.empty(num_resamples)
    step = max(_CHUNK // len(values_N), 1)
    for start in range(0, num_resamples, step):
        size = min(step, num_resamples - start)
        drawn = generator.integers(0, len(values_N), (size, len(values_N)))
        resampled[start : start + size] = values_N[drawn].mean(axis=1)
    return percentile_interval(float(values_N.mean()), resampled_B=resampled)
