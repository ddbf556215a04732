"""What the searches for order statistics of all pairwise cosines share: unit vectors, sample, intervals.

Shapes: N vectors, D dimensions, R ranks, Q query pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]
Positions = npt.NDArray[np.intp]

_SAMPLED_PAIRS = 1 << 16
_PAIRS_PER_SAMPLE = 150_000_000
_STANDARD_ERRORS = 5.0
_VALUES_AT_ONCE = 1 << 17


@dataclass(frozen=True)
class PairCosines:
    """What a search over all pairs found.

    Attributes:
        order: cosine at each wanted rank (0-based, ascending, ties repeated), [R].
        query: cosine of each query pair, [Q]: how it compares with each of `order` is exact, and so is its
            value next to one; elsewhere the value is within `tolerance`.
        tolerance: 0 where every value is a float64 product.
    """

    order: Array
    query: Array
    tolerance: float


@dataclass(frozen=True)
class Interval:
    """A closed interval of cosines that should hold some ranks."""

    low: float
    high: float


@dataclass(frozen=True)
class UnitVectors:
    """Vectors with their norms: rows of unit length, made when they are needed (zero rows stay zero)."""

    vectors_ND: Floats
    norms_N: Array

    def __len__(self) -> int:
        return len(self.vectors_ND)

    @property
    def is_zero(self) -> npt.NDArray[np.bool_]:
        """Which vectors are zero."""
        is_zero: npt.NDArray[np.bool_] = np.equal(self.norms_N, 0)
        return is_zero

    def rows(self, chosen: slice | Positions) -> Array:
        """Some rows divided by their norms, in float64."""
        divisors = self.norms_N[chosen]
        units = self.vectors_ND[chosen].astype(np.float64)
        units /= np.where(divisors == 0, 1.0, divisors)[:, None]
        return units

    def cosines(self, pairs_Q2: Positions) -> Array:
        """Cosine of each pair in float64: a function of the two vectors alone, so equal pairs are ties."""
        found_Q = np.empty(len(pairs_Q2))
        for part in _parts(len(pairs_Q2), width=self.vectors_ND.shape[1]):
            left, right = pairs_Q2[part].T
            found_Q[part] = np.einsum("qd,qd->q", self.rows(left), self.rows(right))
        return found_Q

    def float32(self) -> Floats:
        """All rows divided by their norms, rounded to float32."""
        units_ND = np.empty(self.vectors_ND.shape, np.float32)
        for part in _parts(len(self), width=self.vectors_ND.shape[1]):
            units_ND[part] = self.rows(part)
        return units_ND


def unit_vectors(vectors_ND: Floats) -> UnitVectors:
    """Measure the norms in float64, in blocks of rows; the scale of a vector does not matter."""
    norms_N = np.empty(len(vectors_ND))
    for part in _parts(len(vectors_ND), width=vectors_ND.shape[1]):
        with np.errstate(over="ignore"):  # `_to_scale` looks after these rows
            norms_N[part] = np.linalg.norm(vectors_ND[part].astype(np.float64), axis=1)
    return _to_scale(UnitVectors(vectors_ND, norms_N))


def _to_scale(vectors: UnitVectors) -> UnitVectors:
    """The same directions, where the square of a norm over- or underflows in the vectors' own type.

    Those rows alone are multiplied by a power of two that brings their largest value to 1, so no digit of any
    row changes.
    """
    limits = np.finfo(np.result_type(vectors.vectors_ND.dtype, np.float32))
    low = float(np.sqrt(limits.tiny)) / float(limits.eps)
    extreme = np.flatnonzero(~((vectors.norms_N >= low) & (vectors.norms_N <= 1 / low)))
    largest = np.abs(vectors.vectors_ND[extreme]).max(axis=1, initial=0.0)
    extreme, largest = extreme[largest > 0], largest[largest > 0]
    if not len(extreme):
        return vectors
    rows = np.ldexp(vectors.vectors_ND[extreme], -np.frexp(largest)[1][:, None])
    scaled_ND, norms_N = vectors.vectors_ND.copy(), vectors.norms_N.copy()
    scaled_ND[extreme], norms_N[extreme] = rows, np.linalg.norm(rows.astype(np.float64), axis=1)
    return UnitVectors(scaled_ND, norms_N)


def num_pairs(num_vectors: int) -> int:
    """Number of unordered pairs of different vectors."""
    return num_vectors * (num_vectors - 1) // 2


def sampled_cosines(units_ND: Floats, *, num_ranks: int, seed: int) -> Array:
    """Cosines of random pairs, ascending: more of them for many ranks and many pairs."""
    total = len(units_ND)
    effort = max(num_ranks / 4, 1.0) * max(num_pairs(total) / _PAIRS_PER_SAMPLE, 1.0)
    generator = np.random.default_rng(seed)
    first = generator.integers(0, total, int(_SAMPLED_PAIRS * effort))
    second = (first + generator.integers(1, total, len(first))) % total
    sample = np.empty(len(first))
    for part in _parts(len(sample), width=units_ND.shape[1]):
        sample[part] = np.einsum("qd,qd->q", units_ND[first[part]], units_ND[second[part]])
    return np.sort(sample)


def rank_intervals(
    sample: Array, *, ranks: list[int], total: int, widening: float, margin: float
) -> list[Interval]:
    """Disjoint intervals that hold the ranks with near certainty: five standard errors a side.

    Args:
        sample: ascending cosines of random pairs.
        ranks: what the intervals should hold.
        total: number of all pairs.
        widening: factor of the five standard errors.
        margin: cosine by which every interval is larger on both sides.
    """
    found: list[Interval] = []
    for rank in sorted(set(ranks)):
        share = (rank + 0.5) / total
        spread = np.sqrt(share * (1 - share) / len(sample))
        reach = widening * (_STANDARD_ERRORS * spread + 10 / len(sample))
        first, last = int((share - reach) * len(sample)), int((share + reach) * len(sample)) + 1
        low = sample[first] - margin if first > 0 else -np.inf
        high = sample[last] + margin if last < len(sample) else np.inf
        if found and low <= found[-1].high:
            before = found.pop()
            low, high = before.low, max(high, before.high)
        found.append(Interval(float(low), float(high)))
    return found


def _parts(total: int, *, width: int) -> Iterator[slice]:
    """Slices of rows of a width that stay in a core's cache."""
    step = max(_VALUES_AT_ONCE // max(width, 1), 1)
    return (slice(start, min(start + step, total)) for start in range(0, total, step))
