"""p-values from a drawn null, never 0: (b + 1) / (B + 1).

Phipson and Smyth (2010), doi:10.2202/1544-6115.1585. Shapes: N statistics, B null statistics.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import false_discovery_control

Array = npt.NDArray[np.float64]
Ties = Literal["ge", "gt"]
_ROUNDING = 1e-12


def upper_p_values(values_N: Array, *, null_B: Array, ties: Ties = "ge") -> Array:
    """Share of the null, the value itself counted in, that is as large or larger (`ge`) or larger (`gt`).

    Numbers within 1e-12 of each other count as tied. NaN stays NaN.
    """
    reached = num_reaching(values_N, null_B=null_B, ties=ties)
    return np.where(np.isnan(values_N), np.nan, (reached + 1) / (len(null_B) + 1))


def published_upper_p_values(values_N: Array, *, null_B: Array, ties: Ties = "ge") -> Array:
    """The same without counting the value in, as EFAAR has it: it can be 0. To measure, not to use."""
    reached = num_reaching(values_N, null_B=null_B, ties=ties)
    return np.where(np.isnan(values_N), np.nan, reached / len(null_B))


def num_reaching(values_N: Array, *, null_B: Array, ties: Ties) -> npt.NDArray[np.intp]:
    """How many of the null reach each value."""
    ranked = np.sort(null_B)
    below = values_N - _ROUNDING if ties == "ge" else values_N + _ROUNDING
    return np.asarray(len(ranked) - np.searchsorted(ranked, below, side="left"), np.intp)


def q_values(p_N: Array) -> Array:
    """Benjamini-Hochberg adjusted p-values over those that are not NaN."""
    known = ~np.isnan(p_N)
    adjusted = np.full(len(p_N), np.nan)
    if known.any():
        adjusted[known] = false_discovery_control(p_N[known], method="bh")
    return adjusted
