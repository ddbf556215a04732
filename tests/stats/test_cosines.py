"""Order statistics of all pairwise cosines: equal to sorting them, without the matrix of all cosines."""

import tracemalloc

import numpy as np
import pytest

from phenoscale.stats.cosines import num_pairs, pair_cosines, unit_rows

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


def test_a_first_guess_that_misses_its_rank_is_repeated_and_exact():
    units = _random_units(1200, 6, seed=3)
    ranks = [100_000, 600_001]
    missed = pair_cosines(units, ranks=ranks, queries_Q2=_NO_PAIRS, first_margin=0.0)
    assert np.array_equal(missed.order, pair_cosines(units, ranks=ranks, queries_Q2=_NO_PAIRS).order)
    assert np.allclose(missed.order, _sorted_cosines(units)[ranks], atol=1e-14)


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
