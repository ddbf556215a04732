"""Known-relationship recall: the published definition bit for bit, without sorting all pairs."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest

from phenoscale.benchmarks.relations.annotations import make_source
from phenoscale.benchmarks.relations.config import ProximityConfig, RecallConfig
from phenoscale.benchmarks.relations.recall import Bootstrap, recall_rows, score_pairs, tail_ranks, under_test
from phenoscale.benchmarks.relations.recall_difference import paired_recall_difference
from phenoscale.benchmarks.suite.config import SuiteConfig
from phenoscale.errors import UserError
from phenoscale.schema.maps import parse_map
from tests.support.null_screens import ScreenSpec, simulate_screen

_TAILS = (0.05, 0.95)
_FAST = Bootstrap(50, 0)


def _names(count):
    return np.array([f"G{index:05d}" for index in range(count)])


def _map(vectors, **columns):
    return parse_map(pd.DataFrame({"perturbation": _names(len(vectors)), **columns}), vectors, source="test")


def _published_recall(vectors, pairs, *, lower, upper):
    """EFAAR's definition: sort the upper triangle, place every query on both sides of its ties."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = vectors / np.where(norms == 0, 1, norms)
    cosines = units @ units.T
    null = np.sort(cosines[np.triu_indices(len(vectors), 1)])
    query = np.array([cosines[left, right] for left, right in pairs])
    below = np.searchsorted(null, query, side="left") / len(null)
    at_most = np.searchsorted(null, query, side="right") / len(null)
    return np.mean((at_most <= lower) | (below >= upper))


def _random_case(seed):
    """A random map, every other one of signs in 4 or 16 dimensions: exact cosines, most of them tied."""
    generator = np.random.default_rng(seed)
    count = int(generator.integers(20, 60))
    if seed % 2:
        vectors = generator.choice([-1.0, 1.0], (count, int(generator.choice([4, 16]))))
        if seed % 3 == 0:
            vectors[generator.integers(0, count, 3)] = 0.0
    else:
        vectors = generator.standard_normal((count, int(generator.integers(2, 9))))
    pairs = np.sort(generator.integers(0, count, (int(generator.integers(5, 80)), 2)), axis=1)
    pairs = np.unique(pairs[pairs[:, 0] < pairs[:, 1]], axis=0)
    lower = float(generator.choice([0.0, 0.01, 0.05, 0.1, 1 / 3, 0.5]))
    upper = float(generator.choice([0.5 + 1e-9, 2 / 3, 0.9, 0.95, 0.99, 1.0]))
    return vectors, pairs, lower, upper


def test_recall_equals_the_published_definition_on_a_thousand_cases_with_ties():
    num_tied = 0
    for seed in range(1000):
        vectors, pairs, lower, upper = _random_case(seed)
        if not len(pairs):
            continue
        names = _names(len(vectors))
        found = score_pairs(names, vectors, sources=[make_source("s", names[pairs])], tails=[(lower, upper)])
        expected = _published_recall(vectors, pairs, lower=lower, upper=upper)
        assert found.sources[0].hits[lower, upper].mean() == expected, f"case {seed}"
        num_tied += seed % 2
    assert num_tied > 400


@pytest.mark.parametrize("total", [1, 7, 20, 190, 1225, 4950])
@pytest.mark.parametrize("tails", [(0.0, 1.0), (0.05, 0.95), (0.1, 0.9), (0.3, 0.7), (1 / 3, 2 / 3)])
def test_ranks_are_the_extremes_of_the_definition_in_floating_point(total, tails):
    lower, upper = tails
    steps = range(total + 1)
    expected = (
        max(i for i in steps if i / total <= lower),
        min(i for i in steps if i / total >= upper),
    )
    assert tail_ranks(tails, total=total) == expected


def test_several_sources_and_tails_are_scored_in_one_pass():
    vectors = np.random.default_rng(0).standard_normal((60, 5))
    names = _names(60)
    pairs = [np.array([[0, 1], [2, 3], [4, 59]]), np.array([[5, 6], [0, 1]])]
    sources = [make_source(f"s{index}", names[each]) for index, each in enumerate(pairs)]
    tails = [(0.05, 0.95), (0.1, 0.9), (0.25, 0.75)]
    found = score_pairs(names, vectors, sources=sources, tails=tails)
    for scores, each in zip(found.sources, pairs, strict=True):
        for lower, upper in tails:
            expected = _published_recall(vectors, each, lower=lower, upper=upper)
            assert scores.hits[lower, upper].mean() == expected


@pytest.mark.parametrize(("count", "dimensions"), [(400, 64), (3000, 128), (2500, 1024)])
def test_random_embeddings_are_recalled_at_chance_within_sampling_error(count, dimensions):
    generator = np.random.default_rng(count)
    names = _names(count)
    source = make_source("random", names[generator.integers(0, count, (20_000, 2))])
    vectors = generator.standard_normal((count, dimensions))
    found = score_pairs(names, vectors, sources=[source], tails=[_TAILS])
    # The cosines of random vectors are pairwise independent, so the number of hits is nearly binomial.
    assert abs(found.sources[0].hits[_TAILS].mean() - 0.1) < 4 * np.sqrt(0.1 * 0.9 / len(source))


@pytest.mark.parametrize("kind", ["smooth", "quarters", "signs"])
def test_large_maps_meet_the_published_definition_exactly(kind):
    generator = np.random.default_rng(5)
    vectors = generator.standard_normal((2300, 16))
    if kind == "quarters":  # halves of genes are unit vectors: their cosines are exact, and tied by thousands
        vectors[::2] = np.eye(16)[generator.integers(0, 16, 1150)]
    if kind == "signs":
        vectors = generator.choice([-1.0, 1.0], vectors.shape)
    names, pairs = _names(2300), np.unique(np.sort(generator.integers(0, 2300, (4000, 2)), axis=1), axis=0)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    tails = [(0.05, 0.95), (0.1, 0.9), (0.0, 1.0), (0.3, 0.5)]
    found = score_pairs(names, vectors, sources=[make_source("s", names[pairs])], tails=tails)
    for lower, upper in tails:
        expected = _published_recall(vectors, pairs, lower=lower, upper=upper)
        assert found.sources[0].hits[lower, upper].mean() == expected


def test_memory_does_not_grow_with_the_matrix_of_all_pairs():
    generator = np.random.default_rng(0)
    names, vectors = _names(4000), generator.standard_normal((4000, 16))
    source = make_source("s", names[generator.integers(0, 4000, (2000, 2))])
    tracemalloc.start()
    score_pairs(names, vectors, sources=[source], tails=[_TAILS])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4000 * 4000 * 8 / 2


def test_pairs_outside_the_map_are_counted_and_not_scored():
    vectors = np.random.default_rng(0).standard_normal((30, 4))
    source = make_source(
        "s", [("G00001", "G00002"), ("G00001", "ELSEWHERE"), ("X", "Y"), ("G00003", "G00003")]
    )
    row = recall_rows(_map(vectors), sources=[source], tails=[_TAILS], bootstrap=_FAST)[0]
    assert (row.metric, row.n, row.excluded) == ("recall", 1, 2)
    assert row.settings["chance"] == 0.1


def test_a_source_without_a_pair_in_the_map_is_refused_alone_and_counted_among_others():
    vectors = np.random.default_rng(0).standard_normal((30, 4))
    inside = make_source("inside", [("G00001", "G00002")])
    outside = make_source("outside", [("X", "Y"), ("X", "Z")])
    with pytest.raises(UserError, match="no pair of outside has both entities in the map"):
        recall_rows(_map(vectors), sources=[outside], tails=[_TAILS], bootstrap=_FAST)
    rows = recall_rows(_map(vectors), sources=[inside, outside], tails=[_TAILS], bootstrap=_FAST)
    assert [(row.source, row.n, row.excluded, row.value is None) for row in rows] == [
        ("inside", 1, 0, False),
        ("outside", 0, 2, True),
    ]


def test_too_few_or_repeated_perturbations_are_refused():
    source = make_source("s", [("G00001", "G00002")])
    with pytest.raises(UserError, match="19 perturbations, but recall needs at least 20"):
        score_pairs(_names(19), np.ones((19, 2)), sources=[source], tails=[_TAILS])
    names = _names(25)
    names[3] = names[4] = "G00001"
    with pytest.raises(UserError, match=r"1 entities more than once, such as \['G00001'\]"):
        score_pairs(names, np.ones((25, 2)), sources=[source], tails=[_TAILS])


def test_zero_vectors_leave_the_map_before_anything_is_scored():
    vectors = np.random.default_rng(0).standard_normal((30, 4))
    vectors[[3, 7]] = 0
    source = make_source("s", _names(30)[np.array([(3, 7), (3, 5), (0, 1), (2, 9), (4, 5)])])
    arms = dict.fromkeys(_names(30)[:5].tolist(), "1p")
    tails = [_TAILS, (0.3, 0.7)]
    rows = recall_rows(_map(vectors), sources=[source], tails=tails, arms=arms, bootstrap=_FAST)
    flag = next(row for row in rows if row.metric == "num_zero_vectors")
    assert (flag.value, flag.excluded, flag.n) == (2, 2, 30)
    others = np.delete(np.arange(30), [3, 7])
    without = _map(vectors).select(others)
    found = recall_rows(without, sources=[source], tails=tails, arms=arms, bootstrap=_FAST)
    assert [row for row in rows if row != flag] == found
    recalled = [row for row in rows if row.metric == "recall"]
    assert [(row.n, row.excluded) for row in recalled] == [(3, 2), (3, 2)]
    left = [(0, 1), (2, 7), (3, 4)]  # their places in a map without the two
    assert [row.value for row in recalled] == [
        _published_recall(vectors[others], left, lower=lower, upper=upper) for lower, upper in tails
    ]


def test_planted_truth_keeps_its_zero_vectors_as_published():
    vectors = np.random.default_rng(0).standard_normal((30, 4))
    vectors[[3, 7]] = 0
    source = make_source("s", [("G00003", "G00007"), ("G00000", "G00001")])
    rows = recall_rows(_map(vectors), sources=[source], tails=[_TAILS], bootstrap=_FAST, zero_vectors="kept")
    assert rows[0].value == _published_recall(vectors, [(3, 7), (0, 1)], lower=0.05, upper=0.95)
    assert (rows[0].n, rows[0].excluded, rows[0].settings["zero_vectors"]) == (2, 0, "kept")
    assert (rows[1].metric, rows[1].value, rows[1].excluded) == ("num_zero_vectors", 2, 0)


def test_a_map_of_zero_vectors_is_refused():
    source = make_source("s", [("G00003", "G00007")])
    with pytest.raises(UserError, match="all 30 vectors of the map are zero"):
        recall_rows(_map(np.zeros((30, 4))), sources=[source], tails=[_TAILS], bootstrap=_FAST)


@pytest.mark.parametrize("curve", [(-0.1,), (0.0,), (0.5,), (0.1, 0.7), (1.5,)])
@pytest.mark.parametrize("config", [RecallConfig, SuiteConfig])
def test_tails_of_the_curve_that_leave_no_middle_are_refused(config, curve):
    with pytest.raises(UserError, match=rf"curve holds \[{curve[-1]}\].*between 0 and 0.5"):
        config(curve=curve)


@pytest.mark.parametrize("config", [RecallConfig, ProximityConfig])
def test_too_few_resamples_for_an_interval_are_refused(config):
    with pytest.raises(UserError, match="num_resamples is 99, but a 95 % interval needs at least 100"):
        config(num_resamples=99)
    assert [config(num_resamples=number).num_resamples for number in (0, 100)] == [0, 100]


def test_without_resamples_or_with_one_pair_there_is_no_interval():
    vectors = np.random.default_rng(0).standard_normal((30, 4))
    one = make_source("one", [("G00000", "G00001")])
    two = make_source("two", [("G00000", "G00001"), ("G00002", "G00003")])
    for number in (0, 50):
        found = recall_rows(_map(vectors), sources=[one, two], tails=[_TAILS], bootstrap=Bootstrap(number, 0))
        assert [row.low is None for row in found] == [True, number == 0]
        assert all(("interval" in row.settings) == (number > 0) for row in found)
    assert found[0].value in (0, 1)
    alone = paired_recall_difference(_map(vectors), _map(vectors[::-1]), source=one)
    assert np.isnan([alone.difference.low, alone.difference.high]).all()


def test_controls_and_compounds_stay_out_of_a_null_of_genes():
    vectors = np.random.default_rng(0).standard_normal((50, 4))
    kinds = ["crispr"] * 30 + ["compound"] * 15 + ["control"] * 5
    assert len(under_test(_map(vectors, perturbation_type=kinds))) == 30
    assert len(under_test(_map(vectors[30:], perturbation_type=kinds[30:]))) == 15
    assert len(under_test(_map(vectors))) == 50
    with pytest.raises(UserError, match="nothing but controls"):
        under_test(_map(vectors[45:], perturbation_type=kinds[45:]))


def test_within_and_across_arms_split_the_pairs():
    screen = simulate_screen(ScreenSpec())
    arms = dict(zip(screen.genes["gene"], screen.genes["arm"], strict=True))
    rows = recall_rows(screen.oracle, sources=[screen.pairs], tails=[_TAILS], arms=arms, bootstrap=_FAST)
    by_metric = {row.metric: row for row in rows}
    within, across = by_metric["recall_within_arm"], by_metric["recall_across_arms"]
    assert within.n + across.n == by_metric["recall"].n == len(screen.pairs)
    assert within.n == sum(arms[left] == arms[right] for left, right in screen.pairs.pairs)
    assert rows[0].metric == "recall"


def test_strata_are_recalled_apart():
    vectors = np.random.default_rng(0).standard_normal((60, 4))
    names = np.tile(_names(30), 2)
    frame = pd.DataFrame({"perturbation": names, "cell_type": np.repeat(["a", "b"], 30)})
    rows = recall_rows(
        parse_map(frame, vectors, source="test"),
        sources=[make_source("s", [("G00001", "G00002"), ("G00003", "G00004")])],
        tails=[_TAILS],
        bootstrap=_FAST,
    )
    assert [row.settings["cell_type"] for row in rows] == ["a", "b"]
    for row, part in zip(rows, (vectors[:30], vectors[30:]), strict=True):
        assert row.value == _published_recall(part, [(1, 2), (3, 4)], lower=0.05, upper=0.95)


def test_intervals_hold_the_value_and_are_the_same_for_the_same_seed():
    screen = simulate_screen(ScreenSpec(effect=1.5))
    made = _map(screen.oracle.embeddings + np.random.default_rng(0).standard_normal((140, 32)))
    names = dict(zip(screen.genes["gene"], made.entities, strict=True))
    source = make_source("m", [(names[left], names[right]) for left, right in screen.pairs.pairs])
    first, second = (
        recall_rows(made, sources=[source], tails=[_TAILS], bootstrap=Bootstrap(200, 7))[0] for _ in range(2)
    )
    assert first == second
    assert first.low < first.value < first.high
    assert recall_rows(made, sources=[source], tails=[_TAILS], bootstrap=Bootstrap(0, 0))[0].low is None


def test_the_paired_difference_is_that_of_the_recalls_and_sees_a_better_map():
    screen = simulate_screen(ScreenSpec())
    generator = np.random.default_rng(0)
    good, bad = (
        parse_map(
            screen.oracle.frame,
            screen.oracle.embeddings + noise * generator.standard_normal(screen.oracle.embeddings.shape),
            source="test",
        )
        for noise in (0.3, 1.5)
    )
    found = paired_recall_difference(good, bad, source=screen.pairs, bootstrap=Bootstrap(500, 0))
    recalls = [
        recall_rows(each, sources=[screen.pairs], tails=[_TAILS], bootstrap=_FAST)[0].value
        for each in (good, bad)
    ]
    assert [found.first, found.second] == recalls
    assert np.isclose(found.difference.value, recalls[0] - recalls[1])
    assert 0 < found.difference.low < found.difference.value < found.difference.high
    assert found.num_pairs == len(screen.pairs)
    same = paired_recall_difference(good, good, source=screen.pairs)
    assert (same.difference.low, same.difference.high) == (0.0, 0.0)


def test_maps_without_a_common_pair_cannot_be_compared():
    vectors = np.random.default_rng(0).standard_normal((30, 4))
    first = _map(vectors)
    second = parse_map(
        pd.DataFrame({"perturbation": [f"H{index}" for index in range(30)]}), vectors, source="test"
    )
    source = make_source("s", [("G00001", "G00002"), ("H1", "H2")])
    with pytest.raises(UserError, match="share no pair of s"):
        paired_recall_difference(first, second, source=source)
