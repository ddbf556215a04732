"""Mean pairwise cosines from sums of unit vectors: equal to the cosines themselves, drawn groups too."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from phenoscale.stats.mean_cosines import (
    draw_distinct,
    drawn_sums,
    group_mean_cosines,
    mean_from_sums,
    null_mean_cosines,
    unit_sums,
)


def _slow_mean(vectors):
    cosines = cosine_similarity(vectors.astype(np.float64))
    return cosines[np.tril_indices(len(vectors), -1)].mean()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_identity_equals_the_mean_of_the_lower_triangle(dtype):
    generator = np.random.default_rng(0)
    sizes = generator.integers(2, 40, 60)
    codes = generator.permutation(np.repeat(np.arange(60), sizes))
    vectors = (generator.standard_normal((len(codes), 7)) + 0.3).astype(dtype)
    found = group_mean_cosines(vectors, codes, num_groups=60)
    slow = [_slow_mean(vectors[codes == group]) for group in range(60)]
    assert np.allclose(found.mean, slow, rtol=0, atol=1e-12)
    assert found.count.tolist() == sizes.tolist()


def test_groups_that_do_not_fit_into_one_block_are_the_same():
    generator = np.random.default_rng(1)
    codes = generator.permutation(np.repeat([0, 1, 2], [9000, 3, 5000]))
    vectors = generator.standard_normal((len(codes), 3)) + 0.5
    found = group_mean_cosines(vectors, codes, num_groups=3)
    for group in range(3):
        units = vectors[codes == group] / np.linalg.norm(vectors[codes == group], axis=1, keepdims=True)
        size = len(units)
        gram_sum = sum(float((units[start : start + 500] @ units.T).sum()) for start in range(0, size, 500))
        assert np.isclose(found.mean[group], (gram_sum - size) / (size * (size - 1)), atol=1e-12)


def test_zero_vectors_and_wells_of_no_group_do_not_count():
    vectors = np.array([[1.0, 0], [0, 0], [1, 1], [5, -5], [2, 0]])
    found = group_mean_cosines(vectors, np.array([0, 0, 0, -1, 1]), num_groups=3)
    assert np.isclose(found.mean[0], np.cos(np.pi / 4))
    assert found.count.tolist() == [2, 1, 0]
    assert np.isnan(found.mean[1:]).all()


def test_equal_and_opposite_vectors_have_the_means_one_and_minus_one():
    line = np.array([[3.0, 4.0]] * 4 + [[1.0, 2.0], [-2.0, -4.0]])
    found = group_mean_cosines(line, np.array([0, 0, 0, 0, 1, 1]), num_groups=2)
    assert np.allclose(found.mean, [1.0, -1.0])


def test_one_draw_serves_every_smaller_size():
    generator = np.random.default_rng(2)
    vectors = generator.standard_normal((50, 4))
    rows = np.stack([generator.permutation(50)[:9] for _ in range(2000)])
    given = iter(np.split(rows, np.arange(2048 // 9, 2000, 2048 // 9)))
    null = null_mean_cosines(vectors, lambda _: next(given), sizes=[2, 5, 9], num_draws=2000)
    for index, size in enumerate([2, 5, 9]):
        for draw in (0, 1, 226, 227, 1999):
            assert np.isclose(null[index, draw], _slow_mean(vectors[rows[draw, :size]]))


def test_sums_of_draws_are_those_of_unit_vectors():
    vectors = np.array([[2.0, 0.0], [0.0, 3.0], [4.0, 0.0]])
    ((_, _, sums),) = drawn_sums(vectors, lambda _: np.array([[0, 1], [0, 2]]), sizes=[2], num_draws=2)
    assert np.allclose(sums, [[1, 1], [2, 0]])
    assert np.allclose(mean_from_sums(sums, counts=2), [0, 1])
    assert np.allclose(unit_sums(vectors, bounds=np.array([0, 0, 3])), [[0, 0], [2, 1]])


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
