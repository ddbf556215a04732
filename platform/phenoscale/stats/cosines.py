"""Order statistics of all pairwise cosines without an N x N matrix or a sort.

A sample of the pairs brackets each wanted rank; one pass over tiles of the upper triangle then counts what
lies below each bracket and collects what lies inside. If a bracket missed its rank it is widened and the pass
is repeated, so the result is exact. Shapes: N vectors, D dimensions, R ranks, Q query pairs.
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

TILE_ROWS = 512
TILE_COLUMNS = 4096
_SAMPLED_PAIRS = 200_000
_COMPACT_ABOVE = 1 << 20
_ROUNDING = 1e-9


@dataclass(frozen=True)
class PairCosines:
    """What one pass over all pairs found.

    Attributes:
        order: cosine at each wanted rank (0-based, ascending, ties repeated).
        query: cosine of each query pair, from the very same tiles.
    """

    order: Array
    query: Array


@dataclass
class _Bracket:
    """A closed interval of cosines that should hold some ranks: count below it, values inside it."""

    low: float
    high: float
    below: int = 0

    def __post_init__(self) -> None:
        self._values: Array = np.empty(0)
        self._counts: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._loose: list[Array] = []
        self._num_loose = 0

    def add(self, tile: Array) -> None:
        self.below += int(np.count_nonzero(tile < self.low))
        inside = tile[(tile >= self.low) & (tile <= self.high)]
        self._loose.append(inside)
        self._num_loose += len(inside)
        if self._num_loose > _COMPACT_ABOVE:
            self._compact()

    def value_at(self, rank: int) -> float | None:
        """The value at a rank, None if the bracket does not hold it."""
        self._compact()
        position = rank - self.below
        ends = np.cumsum(self._counts)
        if position < 0 or not len(ends) or position >= ends[-1]:
            return None
        return float(self._values[np.searchsorted(ends, position, side="right")])

    def _compact(self) -> None:
        """Keep each value once with its count: millions of equal cosines cost one entry."""
        values = np.concatenate([self._values, *self._loose])
        weights = np.concatenate([self._counts, np.ones(self._num_loose, np.int64)])
        self._loose, self._num_loose = [], 0
        self._values, inverse = np.unique(values, return_inverse=True)
        self._counts = np.zeros(len(self._values), np.int64)
        np.add.at(self._counts, inverse, weights)


def unit_rows(vectors_ND: Floats) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Rows divided by their norm in float64, and which rows are zero (they stay zero: cosine 0)."""
    vectors = vectors_ND.astype(np.float64)
    norms_N = np.linalg.norm(vectors, axis=1)
    is_zero_N = norms_N == 0
    vectors /= np.where(is_zero_N, 1.0, norms_N)[:, None]
    return vectors, is_zero_N


def num_pairs(num_vectors: int) -> int:
    """Number of unordered pairs of different vectors."""
    return num_vectors * (num_vectors - 1) // 2


def pair_cosines(
    units_ND: Array, *, ranks: list[int], queries_Q2: Positions, seed: int = 0, first_margin: float = 1.0
) -> PairCosines:
    """Cosines at the given ranks among all pairs i < j, and those of the query pairs.

    Memory is O(tile + bracket) beyond the input. The seed only chooses the pairs that the first brackets are
    drawn from: it changes the speed, never the result.

    Args:
        units_ND: rows of unit length (or zero), see `unit_rows`.
        ranks: 0-based ranks, each below the number of pairs.
        queries_Q2: positions (i, j) with i < j.
        seed: seed of the bracketing sample.
        first_margin: half width of the first brackets, in units of six standard errors; a bracket that misses
            costs a second pass.
    """
    total = num_pairs(len(units_ND))
    assert all(0 <= rank < total for rank in ranks), f"ranks must lie in [0, {total})"
    by_first = np.argsort(queries_Q2[:, 0], kind="stable")
    sorted_Q2 = queries_Q2[by_first]
    query_Q = np.empty(len(queries_Q2))
    widening = first_margin
    while True:
        brackets = _brackets(units_ND, ranks=ranks, total=total, widening=widening, seed=seed)
        for rows, columns, tile in _tiles(units_ND):
            for bracket in brackets:
                bracket.add(tile)
            _gather(tile, sorted_Q2, rows=rows, columns=columns, into=query_Q)
        found = [next((v for b in brackets if (v := b.value_at(rank)) is not None), None) for rank in ranks]
        if all(value is not None for value in found):
            restored_Q = np.empty_like(query_Q)
            restored_Q[by_first] = query_Q
            return PairCosines(np.array(found, np.float64), restored_Q)
        widening = max(8 * widening, 1.0)


def _tiles(units_ND: Array) -> Iterator[tuple[slice, slice, Array]]:
    """Tiles of the strict upper triangle; what lies on or below the diagonal is NaN (no comparison holds)."""
    total = len(units_ND)
    for top in range(0, total, TILE_ROWS):
        rows = slice(top, min(top + TILE_ROWS, total))
        for left in range(top, total, TILE_COLUMNS):
            columns = slice(left, min(left + TILE_COLUMNS, total))
            tile = units_ND[rows] @ units_ND[columns].T
            if left < rows.stop:
                across, down = np.arange(left, columns.stop), np.arange(top, rows.stop)
                tile[across[None, :] <= down[:, None]] = np.nan
            yield rows, columns, tile


def _gather(tile: Array, queries_Q2: Positions, *, rows: slice, columns: slice, into: Array) -> None:
    start, stop = np.searchsorted(queries_Q2[:, 0], [rows.start, rows.stop])
    chosen = queries_Q2[start:stop]
    inside = np.flatnonzero((chosen[:, 1] >= columns.start) & (chosen[:, 1] < columns.stop))
    into[start + inside] = tile[chosen[inside, 0] - rows.start, chosen[inside, 1] - columns.start]


def _brackets(units_ND: Array, *, ranks: list[int], total: int, widening: float, seed: int) -> list[_Bracket]:
    """Disjoint intervals that hold the ranks with near certainty: six standard errors a side."""
    wanted = sorted(set(ranks))
    if total <= _SAMPLED_PAIRS:
        return [_Bracket(-np.inf, np.inf)] if wanted else []
    sample = np.sort(_sampled_cosines(units_ND, seed=seed))
    intervals: list[tuple[float, float]] = []
    for rank in wanted:
        share = (rank + 0.5) / total
        margin = widening * (6 * np.sqrt(share * (1 - share) / len(sample)) + 10 / len(sample))
        first = int(np.floor((share - margin) * len(sample)))
        last = int(np.ceil((share + margin) * len(sample)))
        low = sample[first] - _ROUNDING if first >= 0 else -np.inf
        high = sample[last] + _ROUNDING if last < len(sample) else np.inf
        if intervals and low <= intervals[-1][1]:
            before = intervals.pop()
            low, high = before[0], max(high, before[1])
        intervals.append((float(low), float(high)))
    return [_Bracket(low, high) for low, high in intervals]


def _sampled_cosines(units_ND: Array, *, seed: int) -> Array:
    generator = np.random.default_rng(seed)
    first = generator.integers(0, len(units_ND), _SAMPLED_PAIRS)
    second = (first + generator.integers(1, len(units_ND), _SAMPLED_PAIRS)) % len(units_ND)
    cosines = np.empty(_SAMPLED_PAIRS)
    for start in range(0, _SAMPLED_PAIRS, TILE_COLUMNS):
        part = slice(start, start + TILE_COLUMNS)
        cosines[part] = np.einsum("qd,qd->q", units_ND[first[part]], units_ND[second[part]])
    return cosines
