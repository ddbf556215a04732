"""Mean pairwise cosines from sums of unit vectors: equal to the cosines themselves, drawn groups too."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from phenoscale.stats.mean_cosines import (
    directions,
    draw_distinct,
    drawn_sums,
    group_mean_cosines,
    mean_from_sums,
    null_mean_cosines,
)


def _slow_mean(vectors):
    cosines = cosine_similarity(vectors.astype(np.float64))
    return cosines[np.tril_indices(len(vectors), -1)].mean()


@pytest.mark.parametrize(("dtype", "error"), [(np.float16, 1e-7), (np.float32, 1e-7), (np.float64, 1e-12)])
def test_the_identity_equals_the_mean_of_the_lower_triangle(dtype, error):
    generator = np.random.default_rng(0)
    sizes = generator.integers(2, 200, 60)
    codes = generator.permutation(np.repeat(np.arange(60), sizes))
    vectors = (generator.standard_normal((len(codes), 7)) + 0.3).astype(dtype)
    found = group_mean_cosines(directions(vectors), codes, num_groups=60)
    slow = [_slow_mean(vectors[codes == group]) for group in range(60)]
    assert np.allclose(found.mean, slow, rtol=0, atol=error)
    assert found.count.tolist() == sizes.tolist()


def test_groups_that_do_not_fit_into_one_block_are_the_same():
    generator = np.random.default_rng(1)
    codes = generator.permutation(np.repeat([0, 1, 2], [9000, 3, 5000]))
    vectors = generator.standard_normal((len(codes), 3)) + 0.5
    found = group_mean_cosines(directions(vectors), codes, num_groups=3)
    for group in range(3):
        units = vectors[codes == group] / np.linalg.norm(vectors[codes == group], axis=1, keepdims=True)
        size = len(units)
        gram_sum = sum(float((units[start : start + 500] @ units.T).sum()) for start in range(0, size, 500))
        assert np.isclose(found.mean[group], (gram_sum - size) / (size * (size - 1)), atol=1e-12)


@pytest.mark.parametrize(("dtype", "power"), [(np.float64, 700), (np.float64, -1000), (np.float32, -100)])
def test_the_mean_is_the_same_at_any_scale(dtype, power):
    vectors = np.random.default_rng(0).standard_normal((40, 5)).astype(dtype)
    codes = np.repeat([0, 1], 20)
    expected = group_mean_cosines(directions(vectors), codes, num_groups=2).mean
    found = group_mean_cosines(directions(np.ldexp(vectors, power)), codes, num_groups=2)
    assert np.allclose(found.mean, expected, rtol=0, atol=1e-6)
    assert found.count.tolist() == [20, 20]


def test_zero_vectors_and_wells_of_no_group_do_not_count():
    vectors = np.array([[1.0, 0], [0, 0], [1, 1], [5, -5], [2, 0]])
    found = group_mean_cosines(directions(vectors), np.array([0, 0, 0, -1, 1]), num_groups=3)
    assert np.isclose(found.mean[0], np.cos(np.pi / 4))
    assert found.count.tolist() == [2, 1, 0]
    assert np.isnan(found.mean[1:]).all()


def test_equal_and_opposite_vectors_have_the_means_one_and_minus_one():
    line = np.array([[3.0, 4.0]] * 4 + [[1.0, 2.0], [-2.0, -4.0]])
    found = group_mean_cosines(directions(line), np.array([0, 0, 0, 0, 1, 1]), num_groups=2)
    assert np.allclose(found.mean, [1.0, -1.0])


def test_one_draw_serves_every_smaller_size():
    generator = np.random.default_rng(2)
    vectors = generator.standard_normal((50, 20_000))
    rows = np.stack([generator.permutation(50)[:9] for _ in range(50)])
    places = iter(range(50))

    def draw(num_draws):
        return rows[[next(places) for _ in range(num_draws)]]

    assert directions(vectors).rows_at_once < 50 * 3 * 64  # so there are several blocks of draws
    null = null_mean_cosines(directions(vectors), draw, sizes=[2, 5, 9], num_draws=50)
    for index, size in enumerate([2, 5, 9]):
        for place in (0, 1, 33, 34, 35, 49):
            assert np.isclose(null[index, place], _slow_mean(vectors[rows[place, :size]]))


def test_sums_of_draws_are_those_of_unit_vectors():
    vectors = directions(np.array([[2.0, 0.0], [0.0, 3.0], [4.0, 0.0], [0.0, 0.0]]))
    ((_, _, sums),) = drawn_sums(vectors, lambda _: np.array([[0, 1], [0, 2]]), sizes=[2], num_draws=2)
    assert np.allclose(sums, [[1, 1], [2, 0]])
    assert np.allclose(mean_from_sums(sums, counts=2), [0, 1])
    sums = vectors.sums(np.array([0, 1, 2, 3]), bounds=np.array([0, 0, 4, 4]))
    assert np.allclose(sums, [[0, 0], [2, 1], [0, 0]])


def test_the_error_of_float32_does_not_grow_with_the_group():
    generator = np.random.default_rng(3)
    vectors = (generator.standard_normal((200_000, 3)) + 1).astype(np.float32)
    codes = np.zeros(200_000, np.intp)
    found = group_mean_cosines(directions(vectors), codes, num_groups=1)
    exact = group_mean_cosines(directions(vectors.astype(np.float64)), codes, num_groups=1)
    assert abs(found.mean[0] - exact.mean[0]) < 1e-8


def test_sizes_of_vectors_do_not_matter():
    lengths = np.array([[1e-30], [1e30], [1e-15], [1]], np.float32)
    vectors = directions(lengths * np.array([[3, 4]], np.float32))
    assert not vectors.is_zero.any()
    assert np.isclose(group_mean_cosines(vectors, np.zeros(4, np.intp), num_groups=1).mean[0], 1, atol=1e-6)


@pytest.mark.parametrize(("size", "pool_size"), [(3, 100), (10, 12), (12, 12), (1, 1)])
def test_draws_hold_no_row_twice_and_every_row_equally_often(size, pool_size):
    pool = np.arange(1000, 1000 + pool_size)
    drawn = draw_distinct(pool, size=size, num_draws=4000, generator=np.random.default_rng(0))
    assert drawn.shape == (4000, size)
    assert all(len(set(row)) == size for row in drawn.tolist())
    expected = 4000 * size / pool_size
    counts = np.bincount(drawn.reshape(-1) - 1000, minlength=pool_size)
    assert np.abs(counts - expected).max() <= 6 * np.sqrt(expected)
    # the first place alone is as even: shorter sub-draws are random draws
    assert np.abs(
        np.bincount(drawn[:, 0] - 1000, minlength=pool_size) - 4000 / pool_size
    ).max() < 6 * np.sqrt(4000 / pool_size)
