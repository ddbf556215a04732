"""Mean pairwise cosine of groups of vectors, and of random groups, without a matrix of cosines.

With unit vectors u of a group of n: sum over pairs i < j of u_i . u_j = (|sum u|^2 - n) / 2, so the mean is
(|sum u|^2 - n) / (n (n - 1)): one pass over the vectors. Zero vectors have no direction and are no members;
draws must leave them out. Shapes: N vectors, D dimensions, G groups, B draws, K sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from phenoscale.stats.pair_ranks import unit_vectors

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]
Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.intp]
DrawRows = Callable[[int], Positions]
"""Takes a number of draws and returns their rows, [draws, size]."""

_VALUES_AT_ONCE = 2**21  # of the sums that are made in one go: 8 MB in float32, near the processor
_ADDENDS = 64  # vectors that are summed in their own precision before float64 takes over


@dataclass(frozen=True)
class GroupCosines:
    """What a mean over the pairs of each group rests on.

    Attributes:
        mean: [G] mean cosine over the pairs of different members; NaN below two members.
        count: [G] members with a direction.
    """

    mean: Array
    count: Positions


@dataclass(frozen=True)
class Directions:
    """Vectors of which only the directions count: unit vectors are summed without being made.

    Attributes:
        vectors: [N, D], float32 or float64, in C order.
        inverse_norms: [N] 1 / norm, of the same type; 0 for a zero vector.
    """

    vectors: Floats
    inverse_norms: Floats

    @property
    def is_zero(self) -> Mask:
        """[N] which vectors have no direction."""
        return np.asarray(self.inverse_norms == 0, np.bool_)

    @property
    def rows_at_once(self) -> int:
        """How many rows `sums` should be given at once, a sum of fewer than 64 counted as 64."""
        return int(max(_VALUES_AT_ONCE // self.vectors.shape[1], 1)) * _ADDENDS

    def sums(self, rows: Positions, *, bounds: Positions) -> Array:
        """Sums of unit vectors, [G, D]: sum g is over rows[bounds[g]] .. rows[bounds[g + 1] - 1].

        The vectors are read once, in their order; the sums are what is written here and there. At most 64
        are added in their own precision (8 digits of a mean cosine for float32), more in float64.
        """
        parts = np.maximum(-(-np.diff(bounds) // _ADDENDS), 1)
        first = np.cumsum(parts) - parts
        cuts = np.repeat(bounds[:-1], parts) + _ADDENDS * (np.arange(parts.sum()) - np.repeat(first, parts))
        members = csr_array(
            (self.inverse_norms[rows], rows, np.append(cuts, bounds[-1])),
            shape=(len(cuts), len(self.vectors)),
        )
        sums = np.asarray(members.tocsc() @ self.vectors)
        if len(sums) == len(first):
            return sums.astype(np.float64, copy=False)
        return np.asarray(np.add.reduceat(sums, first, axis=0, dtype=np.float64))


def directions(vectors_ND: Floats) -> Directions:
    """The directions of vectors, whose norms are taken once, in float64; their scale does not matter."""
    kind = np.result_type(vectors_ND.dtype, np.float32)
    vectors = np.ascontiguousarray(vectors_ND, kind)
    found = unit_vectors(vectors)
    inverse = np.divide(1.0, found.norms_N, out=np.zeros(len(found)), where=~found.is_zero)
    return Directions(found.vectors_ND, inverse.astype(kind, copy=False))


def group_mean_cosines(vectors: Directions, codes_N: Positions, *, num_groups: int) -> GroupCosines:
    """Mean pairwise cosine of each group; rows with a negative code belong to none."""
    kept = np.flatnonzero((codes_N >= 0) & ~vectors.is_zero)
    codes = codes_N[kept].astype(np.min_scalar_type(num_groups))  # few bytes sort quickly
    order = kept[np.argsort(codes, kind="stable")]
    count = np.bincount(codes, minlength=num_groups).astype(np.intp)
    bounds = np.concatenate([[0], np.cumsum(count)])
    mean = np.empty(num_groups)
    for start, stop in _runs(np.maximum(count, _ADDENDS), limit=vectors.rows_at_once):
        rows = order[bounds[start] : bounds[stop]]
        sums = vectors.sums(rows, bounds=bounds[start : stop + 1] - bounds[start])
        mean[start:stop] = mean_from_sums(sums, counts=count[start:stop])
    return GroupCosines(mean, count)


def mean_from_sums(sums_GD: Array, *, counts: Positions | int) -> Array:
    """(|sum u|^2 - n) / (n (n - 1)); NaN below two members."""
    number = np.broadcast_to(np.asarray(counts, np.float64), len(sums_GD))
    squares = np.einsum("gd,gd->g", sums_GD, sums_GD)
    pairs = np.where(number >= 2, number * (number - 1), np.nan)
    # a mean of cosines; rounding may leave it 1e-16 outside
    return np.asarray(np.clip((squares - number) / pairs, -1.0, 1.0), np.float64)


def drawn_sums(
    vectors: Directions, draw: DrawRows, *, sizes: Sequence[int], num_draws: int
) -> Iterator[tuple[slice, int, Array]]:
    """Sums of unit vectors over the first `size` rows of each draw: (draws, index of the size, sums [b, D]).

    One draw of the largest size serves all smaller ones: its first rows are themselves a random draw.

    Args:
        vectors: none that is drawn may be zero.
        draw: gives rows of the largest size.
        sizes: ascending, each at least 1.
        num_draws: B.
    """
    steps = np.diff([0, *sizes])
    at_once = max(vectors.rows_at_once // max(sizes[-1], _ADDENDS * len(sizes)), 1)
    for start in range(0, num_draws, at_once):
        part = slice(start, min(start + at_once, num_draws))
        number = part.stop - part.start
        bounds = np.concatenate([[0], np.cumsum(np.tile(steps, number))])
        pieces = vectors.sums(draw(number).reshape(-1), bounds=bounds)
        sums = np.cumsum(pieces.reshape(number, len(sizes), -1), axis=1)
        for index in range(len(sizes)):
            yield part, index, sums[:, index]


def null_mean_cosines(vectors: Directions, draw: DrawRows, *, sizes: Sequence[int], num_draws: int) -> Array:
    """Mean pairwise cosine of random groups of each size, [K, B]; see `drawn_sums`."""
    null = np.empty((len(sizes), num_draws))
    for part, index, sums in drawn_sums(vectors, draw, sizes=sizes, num_draws=num_draws):
        null[index, part] = mean_from_sums(sums, counts=sizes[index])
    return null


def draw_distinct(pool: Positions, *, size: int, num_draws: int, generator: np.random.Generator) -> Positions:
    """Rows of random subsets of a pool, [num_draws, size], in random order, none twice in one draw."""
    assert size <= len(pool), f"cannot draw {size} of {len(pool)}"
    if size * size > 2 * len(pool):  # a random draw would hold one row twice too often
        tiled = np.broadcast_to(np.arange(len(pool)), (num_draws, len(pool)))
        return np.asarray(pool[generator.permuted(tiled, axis=1)[:, :size]], np.intp)
    drawn = generator.integers(0, len(pool), (num_draws, size))
    while True:
        ranked = np.sort(drawn, axis=1)
        repeated = np.flatnonzero((ranked[:, 1:] == ranked[:, :-1]).any(axis=1))
        if not len(repeated):
            return pool[drawn]
        drawn[repeated] = generator.integers(0, len(pool), (len(repeated), size))


def _runs(counts_G: Positions, *, limit: int) -> Iterator[tuple[int, int]]:
    """Consecutive groups that have at most `limit` rows together, or one larger group."""
    bounds = np.concatenate([[0], np.cumsum(counts_G)])
    start = 0
    while start < len(counts_G):
        stop = int(np.searchsorted(bounds, bounds[start] + limit, side="right")) - 1
        stop = min(max(stop, start + 1), len(counts_G))
        yield start, stop
        start = stop
