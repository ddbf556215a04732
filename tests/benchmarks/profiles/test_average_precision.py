"""Average precision, its null and its p-values: slow twins, closed forms, scikit-learn."""

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from phenoscale.benchmarks.profiles.average_precision import (
    RankedQueries,
    all_average_precisions,
    average_precision,
    judge,
    null_average_precisions,
    query_p_values,
    random_subsets,
)
from phenoscale.benchmarks.profiles.config import Significance
from tests.support.rankings import num_configurations


def _slow_ap(positives, negatives):
    """Sort everything, positives first at ties, and walk down the list."""
    ranking = sorted([(-s, 0) for s in positives] + [(-s, 1) for s in negatives])
    hits, total = 0, 0.0
    for rank, (_, is_negative) in enumerate(ranking, start=1):
        if not is_negative:
            hits += 1
            total += hits / rank
    return total / len(positives)


def _queries(seed=0, *, num_groups=40, configurations=((2, 30), (3, 31), (1, 12))):
    """Random rankings: one to four queries a group; two groups have none."""
    generator = np.random.default_rng(seed)
    rows = []
    for group in range(num_groups):
        for _ in range(generator.integers(1, 5)):
            k, n = configurations[generator.integers(len(configurations))]
            ranks = np.sort(generator.permutation(n)[:k]) + 1
            rows.append((float(np.mean(np.arange(1, k + 1) / ranks)), k, n, group))
    ap, k, n, group = zip(*rows, strict=True)
    names = np.array([f"g{number:02d}" for number in range(num_groups + 2)])
    return RankedQueries(np.array(ap), np.array(k), np.array(n), np.array(group), names)


def _select(ranked, rows):
    parts = (ranked.average_precision, ranked.num_positives, ranked.num_total, ranked.group)
    return RankedQueries(*(part[rows] for part in parts), ranked.groups)


scores = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=12)


@given(scores, scores)
def test_average_precision_equals_a_walk_down_the_sorted_list_ties_included(positives, negatives):
    found = average_precision(
        np.array(positives, np.float32), sorted_negatives=np.sort(np.array(negatives, np.float32))
    )
    assert found == pytest.approx(_slow_ap(positives, negatives), abs=1e-12)


def test_average_precision_without_ties_is_that_of_scikit_learn():
    generator = np.random.default_rng(1)
    for _ in range(20):
        positives, negatives = generator.random(5, np.float32), generator.random(40, np.float32)
        ours = average_precision(positives, sorted_negatives=np.sort(negatives))
        labels = np.repeat([1, 0], [5, 40])
        assert ours == pytest.approx(average_precision_score(labels, np.r_[positives, negatives]), abs=1e-12)


@pytest.mark.parametrize(("num_positives", "num_total"), [(1, 5), (2, 7), (3, 6), (4, 4)])
def test_all_rankings_are_listed_once_each(num_positives, num_total):
    slow = []
    for labels in set(itertools.permutations([1] * num_positives + [0] * (num_total - num_positives))):
        positives = [-rank for rank, label in enumerate(labels) if label]
        slow.append(_slow_ap(positives, [-rank for rank, label in enumerate(labels) if not label]))
    found = all_average_precisions(num_positives, num_total)
    assert np.allclose(np.sort(found), np.sort(slow))
    assert len(found) == math.comb(num_total, num_positives)


@pytest.mark.parametrize(("num_positives", "num_total"), [(1, 6), (2, 6), (4, 7), (5, 6), (3, 3)])
def test_every_subset_is_drawn_equally_often_in_ascending_order(num_positives, num_total):
    size = 40_000
    generator = np.random.default_rng(0)
    drawn = np.concatenate(list(random_subsets(num_positives, num_total, size=size, generator=generator)))
    assert (np.diff(drawn, axis=1) > 0).all()
    assert drawn.min() >= 1
    assert drawn.max() <= num_total
    _, counts = np.unique(drawn, axis=0, return_counts=True)
    number = math.comb(num_total, num_positives)
    assert len(counts) == number
    expected = size / number
    assert ((counts - expected) ** 2 / expected).sum() < number + 6 * math.sqrt(2 * number)


@pytest.mark.parametrize(("num_positives", "num_total"), [(2, 66), (3, 9), (12, 40), (30, 40), (100, 3000)])
def test_the_null_has_the_moments_of_a_permuted_list(num_positives, num_total):
    found = null_average_precisions(num_positives, num_total, size=4000, seed=0)
    generator = np.random.default_rng(1)
    keys = generator.random((1500, num_total))
    ranks = np.sort(np.argsort(keys, axis=1)[:, :num_positives], axis=1) + 1
    slow = (np.arange(1, num_positives + 1) / ranks).mean(axis=1)
    error = math.sqrt(found.var() / len(found) + slow.var() / len(slow))
    assert abs(found.mean() - slow.mean()) < 5 * error
    assert np.isclose(found.std(), slow.std(), rtol=0.15)


def test_memory_of_a_null_does_not_grow_with_the_length_of_the_ranking():
    peaks = []
    for num_positives in (40, 400):  # drawn with repetition, and by exchange
        tracemalloc.start()
        null_average_precisions(num_positives, 10_000, size=20_000, seed=0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert max(peaks) < 120e6, peaks  # the permuted matrix alone would take 400 MB in 16 bits


def test_sampled_p_values_agree_with_listed_ones_within_binomial_error():
    ranked = _queries()
    listed = query_p_values(ranked, significance=Significance(null="exact"))
    sampled = query_p_values(ranked, significance=Significance(null_size=50_000))
    assert (abs(sampled - listed) < 5 * np.sqrt(listed * (1 - listed) / 50_000) + 3e-5).all()


def test_a_listed_p_value_is_the_probability_of_a_ranking_at_least_as_good():
    best = RankedQueries(np.array([1.0]), np.array([2]), np.array([10]), np.array([0]), np.array(["a"]))
    assert query_p_values(best, significance=Significance(null="exact"))[0] == pytest.approx(1 / 45)


def test_p_values_are_never_zero_and_ties_count_by_the_rule_that_was_asked():
    best = RankedQueries(np.array([1.0]), np.array([9]), np.array([300]), np.array([0]), np.array(["a"]))
    for ties in ("ge", "gt"):
        assert query_p_values(best, significance=Significance(ties=ties, null_size=1000))[0] == 1 / 1001
    # One positive of ten: AP is 1 for a tenth of the rankings, which ge counts and gt does not.
    first = RankedQueries(np.array([1.0]), np.array([1]), np.array([10]), np.array([0]), np.array(["a"]))
    null = null_average_precisions(1, 10, size=1000, seed=5)
    at_least = query_p_values(first, significance=Significance(null_size=1000, seed=5))[0]
    above = query_p_values(first, significance=Significance(null_size=1000, seed=5, ties="gt"))[0]
    assert at_least == (np.isclose(null, 1).sum() + 1) / 1001
    assert above == 1 / 1001


def test_a_null_depends_on_its_own_configuration_only():
    ranked = _queries()
    alone = ranked.num_positives == 2
    for p_values, null_rows in (
        ("geometric-mean", "shared"), ("per-perturbation", "shared"), ("per-perturbation", "independent")
    ):  # fmt: skip
        settings = Significance(p_values=p_values, null_rows=null_rows, null_size=2000)
        assert np.array_equal(
            query_p_values(ranked, significance=settings)[alone],
            query_p_values(_select(ranked, alone), significance=settings),
        )
        whole = np.isin(ranked.group, np.flatnonzero(np.bincount(ranked.group, ~alone) == 0))
        every, few = (
            judge(ranked, significance=settings),
            judge(_select(ranked, whole), significance=settings),
        )
        assert np.array_equal(every.p[np.isin(every.names, few.names)], few.p)


def test_nulls_of_other_sizes_seeds_and_streams_are_other_draws():
    first = null_average_precisions(3, 50, size=500, seed=0)
    assert np.array_equal(first, null_average_precisions(3, 50, size=500, seed=0))
    others = [
        null_average_precisions(3, 50, size=500, seed=1),
        null_average_precisions(3, 50, size=500, seed=0, stream=1),
        null_average_precisions(3, 51, size=500, seed=0),
    ]
    assert all(abs(np.corrcoef(first, other)[0, 1]) < 0.2 for other in others)


def test_groups_are_judged_by_the_geometric_mean_and_benjamini_and_hochberg():
    ranked = _queries(3)
    settings = Significance(null="exact", false_discovery_rate=0.4)
    p_of_query = query_p_values(ranked, significance=settings)
    judged = judge(ranked, significance=settings)
    names = [name for number, name in enumerate(ranked.groups) if number in ranked.group]
    slow = np.array(
        [
            math.prod(p_of_query[ranked.group == number]) ** (1 / (ranked.group == number).sum())
            for number in range(len(names))
        ]
    )
    assert judged.names.tolist() == names
    assert judged.num_excluded == 2
    assert np.allclose(judged.p, slow)
    # Benjamini and Hochberg: the largest rank r with p_(r) <= r / m * rate.
    ordered = np.sort(slow)
    passing = [r for r in range(1, len(slow) + 1) if ordered[r - 1] < r / len(slow) * 0.4]
    assert judged.is_retrieved.sum() == max(passing, default=0)
    assert judged.is_retrieved.sum() > 0
    q = [
        min(ordered[r] * len(slow) / (r + 1) for r in range(np.searchsorted(ordered, p), len(slow)))
        for p in slow
    ]
    assert np.allclose(judged.q, np.minimum(q, 1))


@pytest.mark.parametrize("null_rows", ["shared", "independent"])
@pytest.mark.parametrize("ties", ["ge", "gt"])
def test_mean_average_precision_is_compared_with_means_of_null_rows(null_rows, ties):
    ranked = _queries(4)
    settings = Significance(
        p_values="per-perturbation", null_rows=null_rows, ties=ties, null_size=3000, seed=7
    )
    judged = judge(ranked, significance=settings)
    for number, (name, p) in enumerate(zip(judged.names, judged.p, strict=True)):
        assert name == f"g{number:02d}"
        rows, seen, nulls = np.flatnonzero(ranked.group == number), {}, []
        for row in rows:
            key = (int(ranked.num_positives[row]), int(ranked.num_total[row]))
            stream = seen.get(key, 0) if null_rows == "independent" else 0
            seen[key] = seen.get(key, 0) + 1
            nulls.append(null_average_precisions(*key, size=3000, seed=7, stream=stream))
        null, value = np.mean(nulls, axis=0), ranked.average_precision[rows].mean()
        is_tie = np.isclose(null, value, rtol=1e-7)
        count = ((null > value) & ~is_tie).sum() + (is_tie.sum() if ties == "ge" else 0)
        assert p == (count + 1) / 3001


def test_configurations_are_counted():
    ranked = _queries()
    counted = num_configurations(ranked)
    assert sum(counted.values()) == len(ranked)
    assert set(counted) == {(2, 30), (3, 31), (1, 12)}
