"""Mean pairwise cosine of groups of vectors, and of random groups, without a matrix of cosines.

With unit vectors u of a group of n: sum over pairs i < j of u_i . u_j = (|sum u|^2 - n) / 2, so the mean is
(|sum u|^2 - n) / (n (n - 1)): one pass over the vectors. Zero vectors have no direction; callers leave them
out. Shapes: N vectors, D dimensions, G groups, B draws, K sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]
Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.intp]
DrawRows = Callable[[int], Positions]
"""Takes a number of draws and returns their rows, [draws, size]."""

_ROWS_AT_ONCE = 2048  # 2 MB of 128 dimensions in float64: stays in a processor's cache


@dataclass(frozen=True)
class GroupCosines:
    """What a mean over the pairs of each group rests on.

    Attributes:
        mean: [G] mean cosine over the pairs of different members; NaN below two members.
        count: [G] members with a direction.
    """

    mean: Array
    count: Positions


def zero_rows(vectors_ND: Floats) -> Mask:
    """Which vectors have no direction."""
    return np.asarray(~vectors_ND.any(axis=1), np.bool_)


def group_mean_cosines(vectors_ND: Floats, codes_N: Positions, *, num_groups: int) -> GroupCosines:
    """Mean pairwise cosine of each group; rows with a negative code belong to none.

    Memory beyond the input is a block of 2,048 rows (or the largest group).
    """
    kept = np.flatnonzero(codes_N >= 0)
    order = kept[np.argsort(codes_N[kept], kind="stable")]
    sizes = np.bincount(codes_N[order], minlength=num_groups).astype(np.intp)
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    mean, count = np.full(num_groups, np.nan), sizes.copy()
    for start, stop in _runs(sizes, limit=_ROWS_AT_ONCE):
        rows = vectors_ND.take(order[bounds[start] : bounds[stop]], axis=0).astype(np.float64, copy=False)
        inner = bounds[start : stop + 1] - bounds[start]
        weights = _inverse_norms(rows)
        if not weights.all():
            directed = np.concatenate([[0], np.cumsum(weights > 0)])
            count[start:stop] = np.diff(directed[inner])
        sums = _weighted_sums(rows, weights, bounds=inner)
        mean[start:stop] = mean_from_sums(sums, counts=count[start:stop])
    return GroupCosines(mean, count)


def unit_sums(rows_ND: Floats, *, bounds: Positions) -> Array:
    """Sums of the unit vectors of consecutive rows; group g is rows bounds[g] .. bounds[g + 1] - 1."""
    rows = rows_ND.astype(np.float64, copy=False)
    return _weighted_sums(rows, _inverse_norms(rows), bounds=bounds)


def _inverse_norms(rows_ND: Array) -> Array:
    """1 / norm; 0 for a zero vector."""
    norms = np.sqrt(np.einsum("nd,nd->n", rows_ND, rows_ND))
    return np.asarray(np.divide(1.0, norms, out=np.zeros(len(norms)), where=norms > 0), np.float64)


def _weighted_sums(rows_ND: Array, weights_N: Array, *, bounds: Positions) -> Array:
    shape = (len(bounds) - 1, len(rows_ND))
    return np.asarray(csr_array((weights_N, np.arange(len(rows_ND)), bounds), shape=shape) @ rows_ND)


def mean_from_sums(sums_GD: Array, *, counts: Positions | int) -> Array:
    """(|sum u|^2 - n) / (n (n - 1)); NaN below two members."""
    number = np.broadcast_to(np.asarray(counts, np.float64), len(sums_GD))
    squares = np.einsum("gd,gd->g", sums_GD, sums_GD)
    pairs = np.where(number >= 2, number * (number - 1), np.nan)
    # a mean of cosines; rounding may leave it 1e-16 outside
    return np.asarray(np.clip((squares - number) / pairs, -1.0, 1.0), np.float64)


def drawn_sums(
    vectors_ND: Floats, draw: DrawRows, *, sizes: Sequence[int], num_draws: int
) -> Iterator[tuple[slice, int, Array]]:
    """Sums of unit vectors over the first `size` rows of each draw: (draws, index of the size, sums [b, D]).

    One draw of the largest size serves all smaller ones: its first rows are themselves a random draw.

    Args:
        vectors_ND: vectors without zero rows among those that are drawn.
        draw: gives rows of the largest size.
        sizes: ascending, each at least 1.
        num_draws: B.
    """
    steps = np.diff([0, *sizes])
    at_once = max(_ROWS_AT_ONCE // sizes[-1], 1)
    for start in range(0, num_draws, at_once):
        part = slice(start, min(start + at_once, num_draws))
        number = part.stop - part.start
        rows = draw(number)
        bounds = np.concatenate([[0], np.cumsum(np.tile(steps, number))])
        pieces = unit_sums(vectors_ND.take(rows.reshape(-1), axis=0), bounds=bounds)
        sums = np.cumsum(pieces.reshape(number, len(sizes), -1), axis=1)
        for index in range(len(sizes)):
            yield part, index, sums[:, index]


def null_mean_cosines(vectors_ND: Floats, draw: DrawRows, *, sizes: Sequence[int], num_draws: int) -> Array:
    """Mean pairwise cosine of random groups of each size, [K, B]; see `drawn_sums`."""
    null = np.empty((len(sizes), num_draws))
    for part, index, sums in drawn_sums(vectors_ND, draw, sizes=sizes, num_draws=num_draws):
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
