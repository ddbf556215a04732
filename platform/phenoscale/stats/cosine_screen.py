"""Order statistics of all pairwise cosines by a float32 screen and float64 where it matters: exact, and fast.

Tiles of the upper triangle are multiplied in float32. The inner dimension is cut into chunks whose results
are added, so that a product of chunks of n dimensions in c chunks is off by no more than (n + c + 4) / 2^24
in any order of summation (Higham 2002, section 3.1, with rows of unit length). Call that t. The order
statistic of the exact cosines lies within t of that of the screened ones, so only pairs within 2 t of the
latter can be it: these alone are multiplied in float64. The same holds for comparing a pair with it.
Shapes: N vectors, D dimensions, R ranks, Q query pairs, K kept pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from phenoscale.stats.pair_ranks import (
    Array,
    Interval,
    PairCosines,
    Positions,
    UnitVectors,
    num_pairs,
    rank_intervals,
    sampled_cosines,
)
from phenoscale.stats.threads import map_threads

Tile = npt.NDArray[np.float32]

TILE_ROWS = 512
TILE_COLUMNS = 2048
CHUNK = 256
MAX_KEPT = 1 << 24
"""Pairs inside the intervals, 12 bytes each; more of them are ties, which a screen cannot tell apart."""
MAX_REFINED = 1 << 20
_REFINED_AT_ONCE = 2048
_HALF_ULP = 2.0**-24


@dataclass
class _Kept:
    """Pairs inside one interval, and how many lie below it."""

    below: int = 0
    values: list[Tile] = field(default_factory=list)
    pairs: list[npt.NDArray[np.int32]] = field(default_factory=list)


@dataclass(frozen=True)
class _Screen:
    """Unit rows in float32 with the intervals to look into; `stored` is how much all threads keep."""

    units_ND: Tile
    intervals: Sequence[Interval]
    queries_Q2: Positions
    query_Q: Array
    stored: list[int]

    def scan(self, top: int) -> list[_Kept]:
        """Look through the tiles that begin at a row."""
        kept = [_Kept() for _ in self.intervals]
        for rows, columns, tile in _tiles(self.units_ND, top=top):
            _gather(tile, self.queries_Q2, rows=rows, columns=columns, into=self.query_Q)
            for interval, part in zip(self.intervals, kept, strict=True):
                if self.stored[0] > MAX_KEPT:
                    return kept
                self.stored[0] += _keep(tile, interval, rows=rows, columns=columns, into=part)
        return kept


def tolerance_of(num_dimensions: int) -> float:
    """How far a screened cosine can be from the float64 one."""
    terms = min(num_dimensions, CHUNK) + -(-num_dimensions // CHUNK) + 4
    return terms * _HALF_ULP * 1.001 + 1e-12


def screen_cosines(
    vectors: UnitVectors, *, ranks: list[int], queries_Q2: Positions, seed: int, first_margin: float
) -> PairCosines | None:
    """Cosines at the given ranks among all pairs i < j, and how the query pairs compare with them.

    Returns:
        None where too many pairs are as good as tied with a wanted rank.
    """
    tolerance = tolerance_of(vectors.vectors_ND.shape[1])
    units_ND = vectors.float32()
    sample = sampled_cosines(units_ND, num_ranks=len(ranks), seed=seed)
    by_first = np.argsort(queries_Q2[:, 0], kind="stable")
    sorted_Q2, query_Q = queries_Q2[by_first], np.empty(len(queries_Q2))
    widening = first_margin
    while True:
        intervals = _in_float32(
            rank_intervals(
                sample, ranks=ranks, total=num_pairs(len(vectors)), widening=widening, margin=4 * tolerance
            )
        )
        screen = _Screen(units_ND, intervals, sorted_Q2, query_Q, [0])
        scanned = map_threads(screen.scan, range(0, len(units_ND), TILE_ROWS))
        if screen.stored[0] > MAX_KEPT:
            return None
        found = [_at_rank(rank, scanned, intervals=intervals, vectors=vectors) for rank in ranks]
        if any(isinstance(each, _Tied) for each in found):
            return None
        if not any(each is None for each in found):
            break
        widening = max(8 * widening, 1.0)
    restored_Q = np.empty_like(query_Q)
    restored_Q[by_first] = query_Q
    order = np.array([each for each in found if isinstance(each, float)], np.float64)
    _refine_near(restored_Q, queries_Q2, order=order, vectors=vectors)
    return PairCosines(order, restored_Q, tolerance)


def _in_float32(intervals: Sequence[Interval]) -> list[Interval]:
    """Ends that float32 holds, so that comparing a tile with them rounds nothing."""
    return [Interval(float(np.float32(each.low)), float(np.float32(each.high))) for each in intervals]


class _Tied:
    """A rank with so many pairs beside it that multiplying them one by one does not pay."""


def _at_rank(
    rank: int, scanned: list[list[_Kept]], *, intervals: Sequence[Interval], vectors: UnitVectors
) -> float | _Tied | None:
    """The exact cosine at a rank; None where no interval holds it with what could be confused with it."""
    tolerance = tolerance_of(vectors.vectors_ND.shape[1])
    for index, interval in enumerate(intervals):
        parts = [blocks[index] for blocks in scanned]
        position = rank - sum(part.below for part in parts)
        values_K = np.concatenate([np.empty(0, np.float32), *(v for part in parts for v in part.values)])
        if not 0 <= position < len(values_K):
            continue
        screened = float(np.partition(values_K, position)[position])
        low, high = screened - 2 * tolerance, screened + 2 * tolerance
        if low < interval.low or high > interval.high:
            return None
        values_K = values_K.astype(np.float64)
        near_K = np.flatnonzero((values_K >= low) & (values_K <= high))
        if len(near_K) > MAX_REFINED:
            return _Tied()
        pairs_K2 = np.concatenate([pairs for part in parts for pairs in part.pairs])[near_K]
        within = position - int(np.count_nonzero(values_K < low))
        return float(np.partition(_exact(pairs_K2.astype(np.intp), vectors=vectors), within)[within])
    return None


def _exact(pairs_K2: Positions, *, vectors: UnitVectors) -> Array:
    starts = range(0, len(pairs_K2), _REFINED_AT_ONCE)
    parts = map_threads(lambda start: vectors.cosines(pairs_K2[start : start + _REFINED_AT_ONCE]), starts)
    return np.concatenate([np.empty(0), *parts])


def _refine_near(query_Q: Array, queries_Q2: Positions, *, order: Array, vectors: UnitVectors) -> None:
    """Replace the query cosines that float32 cannot tell from an order statistic by the float64 ones."""
    reach = 2 * tolerance_of(vectors.vectors_ND.shape[1])
    is_near_Q = np.zeros(len(query_Q), np.bool_)
    for value in order:
        is_near_Q |= np.abs(query_Q - value) <= reach
    query_Q[is_near_Q] = _exact(queries_Q2[is_near_Q], vectors=vectors)


def _tiles(units_ND: Tile, *, top: int) -> Iterator[tuple[slice, slice, Tile]]:
    """Tiles right of the diagonal; what lies on or below it is NaN (no comparison holds)."""
    total, dimensions = units_ND.shape
    rows = slice(top, min(top + TILE_ROWS, total))
    whole, addend = np.empty((2, TILE_ROWS, TILE_COLUMNS), np.float32)
    for left in range(top, total, TILE_COLUMNS):
        columns = slice(left, min(left + TILE_COLUMNS, total))
        height, width = rows.stop - top, columns.stop - left
        tile, part = (
            buffer.reshape(-1)[: height * width].reshape(height, width) for buffer in (whole, addend)
        )
        for start in range(0, dimensions, CHUNK):
            inner = slice(start, start + CHUNK)
            np.matmul(units_ND[rows, inner], units_ND[columns, inner].T, out=part if start else tile)
            if start:
                tile += part
        if left < rows.stop:
            across, down = np.arange(left, columns.stop), np.arange(top, rows.stop)
            tile[across[None, :] <= down[:, None]] = np.nan
        yield rows, columns, tile


def _keep(tile: Tile, interval: Interval, *, rows: slice, columns: slice, into: _Kept) -> int:
    into.below += int(np.count_nonzero(tile < interval.low))
    inside = tile >= interval.low
    inside &= tile <= interval.high
    places = np.flatnonzero(inside)
    down, across = np.divmod(places, tile.shape[1])
    into.values.append(tile.reshape(-1)[places])
    into.pairs.append(np.column_stack([down + rows.start, across + columns.start]).astype(np.int32))
    return len(places)


def _gather(tile: Tile, queries_Q2: Positions, *, rows: slice, columns: slice, into: Array) -> None:
    start, stop = np.searchsorted(queries_Q2[:, 0], [rows.start, rows.stop])
    chosen = queries_Q2[start:stop]
    inside = np.flatnonzero((chosen[:, 1] >= columns.start) & (chosen[:, 1] < columns.stop))
    into[start + inside] = tile[chosen[inside, 0] - rows.start, chosen[inside, 1] - columns.start]
