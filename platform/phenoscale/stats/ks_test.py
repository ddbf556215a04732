"""Two-sample Kolmogorov-Smirnov test with its direction, without sorting the larger sample.

Equal to `scipy.stats.ks_2samp`: exact p-values up to 10,000 values a sample, asymptotic ones above (Hodges
1958 for one side). Shapes: n values of the first sample, m of the second.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import ks_2samp, kstwo

Array = npt.NDArray[np.float64]

_MAX_EXACT = 10_000


@dataclass(frozen=True)
class KsTest:
    """Result of one test.

    Attributes:
        statistic: largest distance of the distribution functions.
        sign: 1 where the first sample is the larger one at that place, -1 where it is the smaller.
        p: two-sided.
        p_larger: one-sided, against a first sample that is larger.
        size: (n, m).
    """

    statistic: float
    sign: int
    p: float
    p_larger: float
    size: tuple[int, int]


def ks_test(first_n: Array, second: Iterable[Array]) -> KsTest:
    """Compare a sample with another one that comes in blocks.

    Args:
        first_n: at least one value; it is sorted.
        second: blocks of the other sample; they are kept only where both have at most 10,000 values.
    """
    ranked = np.sort(first_n)
    n, m = len(ranked), 0
    up_to, below = np.zeros(n + 1, np.int64), np.zeros(n + 1, np.int64)
    blocks: list[Array] = []
    for block in second:
        m += block.size
        # a value counts at every place of the first sample that is at least (or above) it
        up_to += np.bincount(np.searchsorted(ranked, block, side="left"), minlength=n + 1)
        below += np.bincount(np.searchsorted(ranked, block, side="right"), minlength=n + 1)
        if m <= _MAX_EXACT:
            blocks.append(block)
    own_up_to = np.searchsorted(ranked, ranked, side="right") / n
    own_below = np.searchsorted(ranked, ranked, side="left") / n
    smaller = float(max((own_up_to - np.cumsum(up_to)[:n] / m).max(), 0.0))
    larger = float(max((np.cumsum(below)[:n] / m - own_below).max(), 0.0))
    statistic = max(smaller, larger)
    if max(n, m) <= _MAX_EXACT:
        p, p_larger = _scipy_p_values(ranked, np.concatenate(blocks))
    else:
        p, p_larger = _asymptotic_p_values(statistic, larger, size=(n, m))
    return KsTest(statistic, 1 if larger >= smaller else -1, p, p_larger, (n, m))


def _scipy_p_values(first_n: Array, second_m: Array) -> tuple[float, float]:
    with warnings.catch_warnings():
        # where the exact p-value overflows scipy takes the asymptotic one and says so
        warnings.simplefilter("ignore", RuntimeWarning)
        two_sided = ks_2samp(first_n, second_m).pvalue
        one_sided = ks_2samp(first_n, second_m, alternative="less").pvalue
    return float(two_sided), float(one_sided)


def _asymptotic_p_values(statistic: float, larger: float, *, size: tuple[int, int]) -> tuple[float, float]:
    """Two-sided: Kolmogorov's distribution at the effective size; one-sided: Hodges (1958), equation 5.3."""
    small, large = min(size), max(size)
    effective = small * large / (small + large)
    scaled = np.sqrt(effective) * larger
    exponent = (
        -2 * scaled**2 - 2 * scaled * (large + 2 * small) / np.sqrt(small * large * (small + large)) / 3
    )
    two_sided = kstwo.sf(statistic, np.round(effective))
    return float(np.clip(two_sided, 0, 1)), float(np.clip(np.exp(exponent), 0, 1))
