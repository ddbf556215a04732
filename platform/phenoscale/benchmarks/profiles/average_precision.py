"""Average precision of rankings, its null distribution, and p-values of groups of rankings.

Kraus et al. (2024) and the JUMP benchmark (science.md 8.8). A query ranks its positives and negatives by
similarity; ties go to the positives (the optimistic order of the published numbers). The mean over its k
positives of (positives so far) / (rank) is its average precision, AP. Under the null every set of k of the n
ranks is equally likely: k-subsets are drawn directly, or all of them are listed; the n ranks are never
permuted.

Two published ways lead from queries to the p-value of a group (a perturbation, a target):

- geometric-mean: the geometric mean of the p-values of its queries. That is no p-value: it is too large when
  queries are independent, and right when they are one.
- per-perturbation: the mean AP of the group against means of null APs. With `shared` null rows, queries with
  the same (k, n) take the same draw, as if they were one ranking. With `independent` rows each query has its
  own draw; replicates that find each other are similar in both directions, so group means vary more than this
  null, and p is too small (anti-conservative).

Measured on pure noise (12 x 320 perturbations, 64 negative controls a plate), share of perturbations with
p < .05, and with p < .001: three replicates 2.7 % and 0 (geometric mean), 5.8 % and 0 (shared), 8.5 % and
.83 % (independent); six replicates .5 % and 0, .3 % and 0, 9.6 % and .86 %.

Every (k, n) has draws of its own that depend on the seed, k and n only, never on what else was asked.
Shapes: B null rankings, Q queries, G groups, K positives.
"""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import false_discovery_control

from phenoscale.benchmarks.profiles.config import Significance

Array = npt.NDArray[np.float64]
Similarities = npt.NDArray[np.float32]
Positions = npt.NDArray[np.intp]

_CHUNK = 2_000_000
_TAKEN_BYTES = 32_000_000
_CACHE_BYTES = 128_000_000
_TIE = 1e-6


@dataclass(frozen=True)
class RankedQueries:
    """What each query found.

    Attributes:
        average_precision: [Q].
        num_positives: [Q] k.
        num_total: [Q] n, positives and negatives.
        group: [Q] position of its group in `groups`.
        groups: [G] names; a group may have no query.
    """

    average_precision: Array
    num_positives: Positions
    num_total: Positions
    group: Positions
    groups: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.average_precision)


@dataclass(frozen=True)
class JudgedGroups:
    """Groups with at least one query, in the order of their names.

    Attributes:
        names: [G].
        mean_average_precision: [G] over the queries of the group.
        p: [G].
        q: [G] p after Benjamini and Hochberg.
        is_retrieved: [G] q below the false discovery rate.
        num_excluded: groups without a query.
    """

    names: npt.NDArray[np.str_]
    mean_average_precision: Array
    p: Array
    q: Array
    is_retrieved: npt.NDArray[np.bool_]
    num_excluded: int


def average_precision(positives_K: Similarities, *, sorted_negatives: Similarities) -> float:
    """AP of one query: the k-th most similar positive has rank k + the negatives strictly above it."""
    ordered = np.sort(positives_K)[::-1]
    above = len(sorted_negatives) - np.searchsorted(sorted_negatives, ordered, side="right")
    count = np.arange(1, len(ordered) + 1)
    return float(np.mean(count / (count + above)))


def null_average_precisions(
    num_positives: int, num_total: int, *, size: int, seed: int, stream: int = 0
) -> Array:
    """AP of random rankings, [B], drawn in chunks: only the result grows with `size`.

    Args:
        num_positives: k, at least 1.
        num_total: n, at least k.
        size: B.
        seed: with k, n and the stream it fixes the draws.
        stream: number of an independent set of draws.
    """
    assert 1 <= num_positives <= num_total, f"no ranking of {num_positives} positives in {num_total}"
    generator = np.random.default_rng([seed, num_positives, num_total, stream])
    chunks = random_subsets(num_positives, num_total, size=size, generator=generator)
    return np.concatenate([_precision_of_ranks(ranks) for ranks in chunks])


def random_subsets(
    num_positives: int, num_total: int, *, size: int, generator: np.random.Generator
) -> Iterator[npt.NDArray[np.int64]]:
    """Uniform k-subsets of 1 .. n, one a row and ascending, a chunk of rows at a time: `size` rows in all."""
    is_sparse = num_positives**2 <= 2 * num_total
    most = _CHUNK // num_positives
    rows = max(most if is_sparse else min(most, _TAKEN_BYTES // num_total), 1)
    draw = _by_rejection if is_sparse else _by_exchange
    for start in range(0, size, rows):
        yield 1 + draw((min(rows, size - start), num_positives), num_total, generator=generator)


def all_average_precisions(num_positives: int, num_total: int) -> Array:
    """AP of every ranking there is, each once."""
    number = math.comb(num_total, num_positives)
    subsets = itertools.combinations(range(1, num_total + 1), num_positives)
    flat = np.fromiter(itertools.chain.from_iterable(subsets), np.int64, count=number * num_positives)
    return _precision_of_ranks(flat.reshape(number, num_positives))


def judge(ranked: RankedQueries, *, significance: Significance) -> JudgedGroups:
    """P-value of each group, and which are retrieved at the false discovery rate."""
    num_queries = np.bincount(ranked.group, minlength=len(ranked.groups))
    kept = np.flatnonzero(num_queries)
    if significance.p_values == "geometric-mean":
        logs = np.log(query_p_values(ranked, significance=significance))
        p = np.exp(np.bincount(ranked.group, logs, len(num_queries))[kept] / num_queries[kept])
    else:
        p = _mean_p_values(ranked, significance=significance)[kept]
    p = np.minimum(p, 1.0)
    q = false_discovery_control(p) if len(p) else p
    totals = np.bincount(ranked.group, ranked.average_precision, len(num_queries))
    return JudgedGroups(
        names=ranked.groups[kept],
        mean_average_precision=totals[kept] / num_queries[kept],
        p=p,
        q=q,
        is_retrieved=q < significance.false_discovery_rate,
        num_excluded=len(num_queries) - len(kept),
    )


def query_p_values(ranked: RankedQueries, *, significance: Significance) -> Array:
    """P-value of each query against the null of its own numbers of positives and negatives, [Q]."""
    nulls = _Nulls(significance)
    p_values = np.empty(len(ranked))
    keys, inverse = _configurations(ranked)
    for code, (num_positives, num_total) in enumerate(keys.tolist()):
        members = inverse == code
        null = np.sort(nulls.draw(num_positives, num_total))
        is_listed = nulls.is_listed(num_positives, num_total)
        p_values[members] = _tail(
            ranked.average_precision[members], null, ties=significance.ties, is_listed=is_listed
        )
    return p_values


def _configurations(ranked: RankedQueries) -> tuple[Positions, Positions]:
    pairs = np.stack([ranked.num_positives, ranked.num_total], axis=1)
    keys, inverse = np.unique(pairs, axis=0, return_inverse=True)
    return keys, inverse.reshape(-1)


def _mean_p_values(ranked: RankedQueries, *, significance: Significance) -> Array:
    """P-value of each group's mean AP, [G]; groups with the same configurations share one null."""
    keys, inverse = _configurations(ranked)
    order = np.lexsort([inverse, ranked.group])
    bounds = np.searchsorted(ranked.group[order], np.arange(len(ranked.groups) + 1))
    alike: dict[tuple[int, ...], list[int]] = {}
    means = np.zeros(len(ranked.groups))
    for group, (start, stop) in enumerate(itertools.pairwise(bounds.tolist())):
        if stop > start:
            members = order[start:stop]
            alike.setdefault(tuple(inverse[members].tolist()), []).append(group)
            means[group] = ranked.average_precision[members].mean()
    p_values = np.ones(len(ranked.groups))
    nulls = _Nulls(significance)
    for configurations in sorted(alike):
        groups = alike[configurations]
        null = np.sort(nulls.mean_of([(*keys[code].tolist(),) for code in configurations]))
        p_values[groups] = _tail(means[groups], null, ties=significance.ties, is_listed=False)
    return p_values


class _Nulls:
    """Null distributions by configuration; a few are kept in memory, none on disk."""

    def __init__(self, significance: Significance) -> None:
        self._settings = significance
        self._kept: OrderedDict[tuple[int, int, int], Array] = OrderedDict()
        self._most = max(_CACHE_BYTES // (8 * significance.null_size), 1)

    def is_listed(self, num_positives: int, num_total: int) -> bool:
        """Whether every ranking is listed instead of drawn: where asked, and where they are few enough."""
        is_small = math.comb(num_total, num_positives) <= self._settings.null_size
        return self._settings.null == "exact" and is_small

    def draw(self, num_positives: int, num_total: int) -> Array:
        """The null of one query."""
        if self.is_listed(num_positives, num_total):
            return all_average_precisions(num_positives, num_total)
        return self._sampled(num_positives, num_total, stream=0)

    def mean_of(self, configurations: list[tuple[int, int]]) -> Array:
        """The null of the mean of several queries, always drawn."""
        total = np.zeros(self._settings.null_size)
        for configuration, repeats in sorted(_counted(configurations).items()):
            if self._settings.null_rows == "shared":
                total += repeats * self._sampled(*configuration, stream=0)
            else:
                total += sum(self._sampled(*configuration, stream=stream) for stream in range(repeats))
        return total / len(configurations)

    def _sampled(self, num_positives: int, num_total: int, *, stream: int) -> Array:
        key = (num_positives, num_total, stream)
        if key not in self._kept:
            settings = self._settings
            self._kept[key] = null_average_precisions(
                num_positives, num_total, size=settings.null_size, seed=settings.seed, stream=stream
            )
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return self._kept[key]


def _counted(configurations: list[tuple[int, int]]) -> dict[tuple[int, int], int]:
    return {key: configurations.count(key) for key in set(configurations)}


def _tail(values: Array, sorted_null_B: Array, *, ties: str, is_listed: bool) -> Array:
    """(b + 1) / (B + 1) with b null values at least (ge) or strictly above (gt) each value; never 0.

    Equal fractions may differ in their last bits, so values within a millionth count as ties. Where all
    rankings are listed, the observed one is among them, and b / B is the exact probability.
    """
    is_at_least = ties == "ge"
    bound = values * (1 - _TIE if is_at_least else 1 + _TIE)
    count = len(sorted_null_B) - np.searchsorted(
        sorted_null_B, bound, side="left" if is_at_least else "right"
    )
    if is_listed and is_at_least:
        return np.asarray(np.maximum(count, 1) / len(sorted_null_B))
    return np.asarray((count + 1) / (len(sorted_null_B) + 1))


def _precision_of_ranks(sorted_ranks: npt.NDArray[np.int64]) -> Array:
    """AP of rankings given as the ascending ranks, from 1, of their positives."""
    count = np.arange(1, sorted_ranks.shape[1] + 1)
    return np.asarray((count / sorted_ranks).mean(axis=1))


def _by_rejection(
    shape: tuple[int, int], num_total: int, *, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Draw with repetition, and draw rows again that repeat a rank: what stays is uniform."""
    drawn = np.sort(generator.integers(0, num_total, shape), axis=1)
    again = np.flatnonzero((np.diff(drawn, axis=1) == 0).any(axis=1))
    while len(again):
        drawn[again] = np.sort(generator.integers(0, num_total, (len(again), shape[1])), axis=1)
        again = again[(np.diff(drawn[again], axis=1) == 0).any(axis=1)]
    return drawn


def _by_exchange(
    shape: tuple[int, int], num_total: int, *, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Floyd's algorithm on all rows at once: the last of 0 .. j stands in for a rank that is already taken.

    Where more than half of the ranks are wanted the others are drawn.
    """
    num_rows, num_wanted = shape
    is_complement = 2 * num_wanted > num_total
    num_drawn = num_total - num_wanted if is_complement else num_wanted
    taken = np.zeros((num_rows, num_total), np.bool_)
    rows = np.arange(num_rows)
    for last in range(num_total - num_drawn, num_total):
        rank = generator.integers(0, last + 1, num_rows)
        taken[rows, np.where(taken[rows, rank], last, rank)] = True
    chosen = ~taken if is_complement else taken
    return np.nonzero(chosen)[1].reshape(shape)
