"""Order statistics of all pairwise cosines: equal to sorting them, without the matrix of all cosines."""

import tracemalloc

import numpy as np
import pytest

from phenoscale.stats.cosine_screen import screen_cosines, tolerance_of
from phenoscale.stats.cosines import WHOLE, counted_cosines, pair_cosines, unit_rows
from phenoscale.stats.pair_ranks import num_pairs, unit_vectors

_NO_PAIRS = np.empty((0, 2), np.intp)


def _sorted_cosines(units):
    return np.sort((units @ units.T)[np.triu_indices(len(units), 1)])


def _random_units(count, dimensions, *, seed):
    return unit_rows(np.random.default_rng(seed).standard_normal((count, dimensions)))[0]


@pytest.mark.parametrize(("count", "dimensions"), [(20, 3), (513, 8), (700, 2), (1200, 16)])
def test_ranks_and_queries_equal_those_of_the_sorted_cosines(count, dimensions):
    units = _random_units(count, dimensions, seed=count)
    total = num_pairs(count)
    ranks = sorted({0, total // 20, total // 2, total - total // 20, total - 1})
    queries = np.sort(np.random.default_rng(1).choice(count, (50, 2)), axis=1)
    queries = queries[queries[:, 0] < queries[:, 1]]
    found = pair_cosines(units, ranks=ranks, queries_Q2=queries)
    assert np.allclose(found.order, _sorted_cosines(units)[ranks], atol=1e-14)
    assert np.allclose(
        found.query, np.einsum("qd,qd->q", units[queries[:, 0]], units[queries[:, 1]]), atol=1e-14
    )


def test_ties_keep_their_multiplicity():
    # Signs in 4 dimensions: cosines are multiples of 1/2, and most of the 719,400 pairs are tied.
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (1200, 4))
    units, _ = unit_rows(signs)
    total = num_pairs(1200)
    ranks = list(range(0, total, total // 97))
    found = pair_cosines(units, ranks=ranks, queries_Q2=_NO_PAIRS)
    assert np.array_equal(found.order, _sorted_cosines(units)[ranks])


@pytest.mark.parametrize("find", [pair_cosines, counted_cosines])
def test_a_first_guess_that_misses_its_rank_is_repeated_and_exact(find):
    units = _random_units(WHOLE + 100, 6, seed=3)
    ranks = [100_000, 1_600_001]
    missed = find(units, ranks=ranks, queries_Q2=_NO_PAIRS, first_margin=0.0)
    assert np.array_equal(missed.order, find(units, ranks=ranks, queries_Q2=_NO_PAIRS).order)
    assert np.allclose(missed.order, _sorted_cosines(units)[ranks], atol=1e-14)


def _beyond_one_product(kind):
    """More vectors than are multiplied whole: smooth, long enough for several chunks, twins, or zeros."""
    generator = np.random.default_rng(7)
    dimensions = 600 if kind == "long" else 24
    vectors = generator.standard_normal((WHOLE + 200, dimensions))
    if kind == "twins":
        vectors = vectors[generator.integers(0, 400, len(vectors))]
    if kind == "zeros":
        vectors[: len(vectors) // 3] = 0
    return vectors.astype(np.float32)


@pytest.mark.parametrize("kind", ["smooth", "long", "twins", "zeros"])
def test_the_screen_decides_as_float64_products_of_all_pairs_do(kind):
    vectors = _beyond_one_product(kind)
    total = num_pairs(len(vectors))
    ranks = [0, total // 20, total // 3, total - total // 20, total - 1]
    queries = np.sort(np.random.default_rng(1).integers(0, len(vectors), (20_000, 2)), axis=1)
    queries = queries[queries[:, 0] < queries[:, 1]]
    found = pair_cosines(vectors, ranks=ranks, queries_Q2=queries)
    counted = counted_cosines(vectors, ranks=ranks, queries_Q2=queries)
    assert np.allclose(found.order, counted.order, rtol=0, atol=1e-14)
    for ours, theirs in zip(found.order, counted.order, strict=True):
        # Products of twins differ in the last digit by their place in a float64 tile: there ties are allowed.
        differs = np.sign(found.query - ours) != np.sign(counted.query - theirs)
        assert np.abs(counted.query - theirs)[differs].max(initial=0) < 1e-14
    assert np.abs(found.query - counted.query).max() <= found.tolerance


def test_the_screen_is_used_where_it_can_be_and_leaves_mass_ties_to_counting():
    queries = np.array([[0, 1], [5, 2200]])
    smooth = unit_vectors(_beyond_one_product("smooth"))
    fifth = [num_pairs(len(smooth)) // 20]
    assert screen_cosines(smooth, ranks=fifth, queries_Q2=queries, seed=0, first_margin=1.0) is not None
    # Three of eight pairs are orthogonal: more than a million ties at the median.
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (WHOLE + 600, 4))
    tied, ranks = unit_vectors(signs), [num_pairs(len(signs)) // 2]
    assert screen_cosines(tied, ranks=ranks, queries_Q2=queries, seed=0, first_margin=1.0) is None
    found = pair_cosines(signs, ranks=ranks, queries_Q2=queries)
    assert np.array_equal(found.order, _sorted_cosines(unit_rows(signs)[0])[ranks])


@pytest.mark.parametrize("dimensions", [3, 256, 257, 2000])
def test_float32_products_in_chunks_stay_within_the_proven_tolerance(dimensions):
    # All products of one sign and one binade up: the case in which rounding errors add up most.
    vectors = np.full((WHOLE + 1, dimensions), 1 / 3) + np.random.default_rng(0).uniform(
        0, 1e-3, (WHOLE + 1, dimensions)
    )
    queries = np.column_stack([np.zeros(WHOLE, int), np.arange(1, WHOLE + 1)])
    # No rank is asked for, so that no query is refined.
    found = pair_cosines(vectors, ranks=[], queries_Q2=queries)
    exact = unit_vectors(vectors).cosines(queries)
    assert 0 < np.abs(found.query - exact).max() <= tolerance_of(dimensions) == found.tolerance


def test_the_seed_changes_nothing_but_the_first_guess():
    units = _random_units(900, 5, seed=0)
    ranks = [1000, 200_000]
    first = pair_cosines(units, ranks=ranks, queries_Q2=_NO_PAIRS, seed=0)
    second = pair_cosines(units, ranks=ranks, queries_Q2=_NO_PAIRS, seed=1)
    assert np.array_equal(first.order, second.order)


def test_memory_stays_far_below_the_matrix_of_all_cosines():
    units = _random_units(4000, 16, seed=0)
    tracemalloc.start()
    pair_cosines(units, ranks=[400_000, 7_600_000], queries_Q2=_NO_PAIRS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4000 * 4000 * 8 / 2


def test_zero_vectors_have_the_cosine_zero_and_are_named():
    units, is_zero = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
    assert np.allclose(units, [[0.6, 0.8], [0, 0]])
    assert is_zero.tolist() == [False, True]


@pytest.mark.parametrize(
    ("dtype", "power"), [(np.float64, 700), (np.float64, -700), (np.float64, -1030), (np.float32, -130)]
)
def test_directions_are_the_same_at_any_scale(dtype, power):
    vectors = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
    vectors[3] = 0
    expected, is_zero = unit_rows(vectors)
    scaled = np.ldexp(vectors.astype(dtype), power)
    scaled[10:20] = vectors[10:20]  # ordinary rows beside extreme ones
    found, found_zero = unit_rows(scaled)
    # A power of two costs no digit, until the values lose some to the smallest number of their type.
    assert np.array_equal(found[10:20], expected[10:20])
    assert np.allclose(found, expected, rtol=0, atol=1e-5 if power in (-1030, -130) else 0)
    assert np.array_equal(found_zero, is_zero)


def test_vectors_of_ordinary_scale_are_not_copied():
    vectors = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
    vectors[3] = 0
    assert unit_vectors(vectors).vectors_ND is vectors
    assert unit_vectors(vectors.astype(np.float16)).norms_N[3] == 0
