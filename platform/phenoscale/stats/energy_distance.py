"""Energy distance of groups of vectors to a sample of controls, in blocks, with a null of control subsets.

Szekely and Rizzo (2013), doi:10.1016/j.jspi.2013.03.018: 2 E|X - Y| - E|X - X'| - E|Y - Y'|, here with
V-statistics (means over all pairs, the zero distances of a vector to itself included), so it is 0 only for
equal samples and shrinks as 1 / n + 1 / m without any effect. Shapes: N vectors, M controls, D dimensions,
G groups, B draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from phenoscale.stats.mean_cosines import draw_distinct

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]
Positions = npt.NDArray[np.intp]

_ROWS_AT_ONCE = 512
_GATHERED_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class ControlSample:
    """Negative controls and their distances to each other.

    Attributes:
        centered: [M, D] minus their mean; distances do not change, and less is lost to rounding.
        center: [D] that mean.
        distances: [M, M].
    """

    centered: Array
    center: Array
    distances: Array

    def __len__(self) -> int:
        return len(self.centered)


@dataclass(frozen=True)
class EnergyDistances:
    """Energy distances of groups.

    Attributes:
        to_all: [G] to all controls.
        to_rest: [G] to the controls without as many drawn ones as the group has members: the comparison that
            has the sizes of the null. NaN where that leaves fewer controls than members.
        count: [G] members.
    """

    to_all: Array
    to_rest: Array
    count: Positions


def control_sample(controls_MD: Floats) -> ControlSample:
    """Prepare the controls once for all groups."""
    controls = controls_MD.astype(np.float64)
    center = controls.mean(axis=0)
    controls -= center
    return ControlSample(controls, center, self_distances(controls))


def distances_between(first_ND: Array, second_MD: Array) -> Array:
    """Euclidean distances, [N, M], through one matrix product."""
    squares = first_ND @ second_MD.T
    squares *= -2
    squares += np.einsum("nd,nd->n", first_ND, first_ND)[:, None]
    squares += np.einsum("md,md->m", second_MD, second_MD)
    np.maximum(squares, 0, out=squares)
    return np.sqrt(squares, out=squares)


def self_distances(vectors_ND: Array) -> Array:
    """Distances within one sample, zero on the diagonal."""
    distances = distances_between(vectors_ND, vectors_ND)
    np.fill_diagonal(distances, 0)
    return distances


def energy_distances(
    vectors_ND: Floats,
    codes_N: Positions,
    *,
    num_groups: int,
    controls: ControlSample,
    left_out: dict[int, Positions] | None = None,
) -> EnergyDistances:
    """Energy distance of each group to the controls; rows with a negative code belong to none.

    Args:
        vectors_ND: the vectors of all groups.
        codes_N: the group of each.
        num_groups: G.
        controls: the sample to compare with.
        left_out: for each number of members, the controls that `to_rest` leaves out; see `draw_left_out`.
    """
    kept = np.flatnonzero(codes_N >= 0)
    order = kept[np.argsort(codes_N[kept], kind="stable")]
    counts = np.bincount(codes_N[order], minlength=num_groups).astype(np.intp)
    bounds = np.concatenate([[0], np.cumsum(counts)])
    rest_terms = {size: _rest_term(controls, left) for size, left in (left_out or {}).items()}
    all_term = float(controls.distances.mean())
    found = np.full((2, num_groups), np.nan)
    for group in np.flatnonzero(counts):
        size, cross = int(counts[group]), np.zeros(len(controls))
        within = 0.0
        members = order[bounds[group] : bounds[group + 1]]
        for rows in _blocks(members):
            vectors = vectors_ND[rows].astype(np.float64) - controls.center
            cross += distances_between(vectors, controls.centered).sum(axis=0)
            within += _within(vectors_ND, rows, members=members, controls=controls)
        within /= size**2
        found[0, group] = 2 * cross.mean() / size - within - all_term
        if size in rest_terms:
            rest = np.delete(cross, (left_out or {})[size])
            found[1, group] = 2 * rest.mean() / size - within - rest_terms[size]
    # a difference of means of distances that rounding may leave just below 0
    return EnergyDistances(np.maximum(found[0], 0), np.maximum(found[1], 0), counts)


def draw_left_out(
    sizes: list[int], *, num_controls: int, generator: np.random.Generator
) -> dict[int, Positions]:
    """As many controls as a group has members, drawn once per size that leaves at least as many."""
    everything = np.arange(num_controls)
    return {
        size: draw_distinct(everything, size=size, num_draws=1, generator=generator)[0]
        for size in sorted(set(sizes))
        if 0 < 2 * size <= num_controls
    }


def null_energy_distances(
    controls: ControlSample, *, size: int, num_draws: int, generator: np.random.Generator
) -> Array:
    """Energy distances of random subsets of the controls to the controls that remain, [B].

    From the matrix of distances D with row sums r and total t: a subset with indicator a has the sums a'Da
    within, a'r - a'Da across and t - 2 a'r + a'Da in the rest.
    """
    total, rest = len(controls), len(controls) - size
    row_sums, everything = controls.distances.sum(axis=1), np.arange(len(controls))
    null = np.empty(num_draws)
    at_once = max(_GATHERED_AT_ONCE // max(size**2, total), 1)
    for start in range(0, num_draws, at_once):
        part = slice(start, min(start + at_once, num_draws))
        drawn = draw_distinct(everything, size=size, num_draws=part.stop - part.start, generator=generator)
        within = controls.distances[drawn[:, :, None], drawn[:, None, :]].sum(axis=(1, 2))
        rows = row_sums[drawn].sum(axis=1)
        across, remaining = rows - within, row_sums.sum() - 2 * rows + within
        null[part] = 2 * across / (size * rest) - within / size**2 - remaining / rest**2
    return np.maximum(null, 0)


def _rest_term(controls: ControlSample, left_out: Positions) -> float:
    """Mean distance within the controls that are not left out."""
    kept = np.delete(np.arange(len(controls)), left_out)
    return float(controls.distances[np.ix_(kept, kept)].mean())


def _within(vectors_ND: Floats, rows: Positions, *, members: Positions, controls: ControlSample) -> float:
    """Sum of the distances from some rows to all members of their group."""
    if len(rows) == len(members):
        return float(self_distances(vectors_ND[rows].astype(np.float64) - controls.center).sum())
    total = 0.0
    vectors = vectors_ND[rows].astype(np.float64) - controls.center
    for others in _blocks(members):
        block = distances_between(vectors, vectors_ND[others].astype(np.float64) - controls.center)
        block[rows[:, None] == others[None, :]] = 0
        total += float(block.sum())
    return total


def _blocks(rows: Positions) -> Iterator[Positions]:
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        yield rows[start : start + _ROWS_AT_ONCE]
