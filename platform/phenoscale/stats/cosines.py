"""Order statistics of all pairwise cosines, exact, without an N x N matrix or a sort of all pairs.

Up to `WHOLE` vectors the matrix is one float64 product, as in the published definition. Beyond, a float32
screen finds the few pairs that can matter and float64 decides among them (`cosine_screen`). Where ties are so
many that a screen cannot tell them apart, tiles of float64 products are counted instead, each value once.
Shapes: N vectors, D dimensions, R ranks, Q query pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from phenoscale.stats.cosine_screen import screen_cosines
from phenoscale.stats.pair_ranks import (
    Array,
    Floats,
    Interval,
    PairCosines,
    Positions,
    num_pairs,
    rank_intervals,
    sampled_cosines,
    unit_vectors,
)

WHOLE = 2048
TILE_ROWS = 512
TILE_COLUMNS = 4096
_COMPACT_ABOVE = 1 << 20
_ROUNDING = 1e-9


@dataclass
class _Bracket:
    """The values inside an interval, and how many lie below it."""

    interval: Interval
    below: int = 0

    def __post_init__(self) -> None:
        self._values: Array = np.empty(0)
        self._counts: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._loose: list[Array] = []
        self._num_loose = 0

    def add(self, tile: Array) -> None:
        self.below += int(np.count_nonzero(tile < self.interval.low))
        inside = tile[(tile >= self.interval.low) & (tile <= self.interval.high)]
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
    vectors = unit_vectors(vectors_ND)
    return vectors.rows(slice(None)), vectors.is_zero


def pair_cosines(
    vectors_ND: Floats, *, ranks: list[int], queries_Q2: Positions, seed: int = 0, first_margin: float = 1.0
) -> PairCosines:
    """Cosines at the given ranks among all pairs i < j, and those of the query pairs.

    The seed only chooses the pairs that the first intervals are drawn from: it changes the speed, never the
    result.

    Args:
        vectors_ND: any vectors; a zero vector has the cosine 0 with every other.
        ranks: 0-based ranks, each below the number of pairs.
        queries_Q2: positions (i, j) with i < j.
        seed: seed of the sample.
        first_margin: half width of the first intervals, in units of five standard errors; one that misses
            its rank costs a second pass.
    """
    total = num_pairs(len(vectors_ND))
    assert all(0 <= rank < total for rank in ranks), f"ranks must lie in [0, {total})"
    if len(vectors_ND) > WHOLE:
        vectors = unit_vectors(vectors_ND)
        found = screen_cosines(
            vectors, ranks=ranks, queries_Q2=queries_Q2, seed=seed, first_margin=first_margin
        )
        if found is not None:
            return found
    return counted_cosines(vectors_ND, ranks=ranks, queries_Q2=queries_Q2, seed=seed)


def counted_cosines(
    vectors_ND: Floats, *, ranks: list[int], queries_Q2: Positions, seed: int = 0, first_margin: float = 1.0
) -> PairCosines:
    """What `pair_cosines` finds, from float64 products of all pairs; arguments as there."""
    vectors = unit_vectors(vectors_ND)
    units_ND, total = vectors.rows(slice(None)), num_pairs(len(vectors))
    by_first = np.argsort(queries_Q2[:, 0], kind="stable")
    sorted_Q2, query_Q = queries_Q2[by_first], np.empty(len(queries_Q2))
    everything, widening = [Interval(-np.inf, np.inf)], first_margin
    sample = sampled_cosines(units_ND, num_ranks=len(ranks), seed=seed) if len(vectors) > WHOLE else None
    while True:
        intervals = everything
        if sample is not None:
            intervals = rank_intervals(sample, ranks=ranks, total=total, widening=widening, margin=_ROUNDING)
        brackets = [_Bracket(interval) for interval in intervals]
        for rows, columns, tile in _tiles(units_ND):
            for bracket in brackets:
                bracket.add(tile)
            _gather(tile, sorted_Q2, rows=rows, columns=columns, into=query_Q)
        found = [next((v for b in brackets if (v := b.value_at(rank)) is not None), None) for rank in ranks]
        if all(value is not None for value in found):
            restored_Q = np.empty_like(query_Q)
            restored_Q[by_first] = query_Q
            return PairCosines(np.array(found, np.float64), restored_Q, 0.0)
        widening = max(8 * widening, 1.0)


def _tiles(units_ND: Array) -> Iterator[tuple[slice, slice, Array]]:
    """Tiles of the strict upper triangle; what lies on or below the diagonal is NaN (no comparison holds)."""
    total = len(units_ND)
    if total <= WHOLE:
        whole = units_ND @ units_ND.T
        whole[np.tril_indices(total)] = np.nan
        yield slice(0, total), slice(0, total), whole
        return
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
