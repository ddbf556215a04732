"""Two-sample distances between distributions: Kolmogorov-Smirnov and the un-normalized Cramer-von Mises.

The latter is scipy's `cramervonmises_2samp(...).statistic` (Anderson 1962, doi:10.1214/aoms/1177704477): it
grows with n * m / (n + m), so n and m belong to every value. Shapes: n and m samples, B resamples.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Array = npt.NDArray[np.float64]


def ks_statistic(first_n: Array, second_m: Array) -> float:
    """Largest distance between the two empirical distribution functions; NaN if a sample is empty."""
    if not len(first_n) or not len(second_m):
        return float("nan")
    values = np.sort(np.concatenate([first_n, second_m]))
    first = np.searchsorted(np.sort(first_n), values, side="right") / len(first_n)
    second = np.searchsorted(np.sort(second_m), values, side="right") / len(second_m)
    return float(np.abs(first - second).max())


def cvm_statistic(first_n: Array, second_m: Array) -> float:
    """The un-normalized two-sample Cramer-von Mises T with midranks at ties; NaN if a sample is empty."""
    n, m = len(first_n), len(second_m)
    if not n or not m:
        return float("nan")
    ranks = rankdata(np.concatenate([np.sort(first_n), np.sort(second_m)]), method="average")
    u = n * np.sum((ranks[:n] - np.arange(1, n + 1)) ** 2) + m * np.sum(
        (ranks[n:] - np.arange(1, m + 1)) ** 2
    )
    return float(u / (n * m * (n + m)) - (4 * n * m - 1) / (6 * (n + m)))


def resampled_statistics(
    first_n: Array, second_m: Array, *, weights_Bn: Array, weights_Bm: Array
) -> tuple[Array, Array]:
    """Both statistics for each set of bootstrap weights: (KS [B], CvM [B] at the sizes n and m)."""
    n, m = len(first_n), len(second_m)
    values = np.concatenate([first_n, second_m])
    order = np.argsort(values, kind="stable")
    sorted_values = values[order]
    last_of_tie = np.append(sorted_values[1:] != sorted_values[:-1], True)
    ks, cvm = np.empty(len(weights_Bn)), np.empty(len(weights_Bn))
    for index, (first, second) in enumerate(zip(weights_Bn, weights_Bm, strict=True)):
        share_first = np.concatenate([first / first.sum(), np.zeros(m)])[order]
        share_second = np.concatenate([np.zeros(n), second / second.sum()])[order]
        gap = np.cumsum(share_first - share_second)
        # Inside a tie the gap is not yet complete: take its value at the tie's end everywhere.
        gap = gap[last_of_tie][np.cumsum(last_of_tie) - last_of_tie]
        mass = (n * share_first + m * share_second) / (n + m)
        ks[index] = np.abs(gap).max()
        cvm[index] = n * m / (n + m) * np.sum(mass * gap**2)
    return ks, cvm
