"""Energy distances: equal to plain pairwise distances, to scipy in one dimension, to closed forms."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import energy_distance

from phenoscale.stats.energy_distance import (
    control_sample,
    draw_left_out,
    energy_distances,
    null_energy_distances,
)


def _slow(first, second):
    return 2 * cdist(first, second).mean() - cdist(first, first).mean() - cdist(second, second).mean()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_distances_equal_plain_pairwise_ones(dtype):
    generator = np.random.default_rng(0)
    sizes = np.array([5, 1, 700, 30])
    codes = generator.permutation(np.repeat([0, 1, 2, 3, -1], [*sizes, 8]))
    # a common offset is the hard case of distances through products
    vectors = (generator.standard_normal((len(codes), 6)) + 100).astype(dtype)
    controls = (generator.standard_normal((120, 6)) + 100.2).astype(dtype)
    found = energy_distances(vectors, codes, num_groups=5, controls=control_sample(controls))
    slow = [_slow(vectors[codes == g].astype(np.float64), controls.astype(np.float64)) for g in range(4)]
    assert np.allclose(found.to_all[:4], slow, rtol=0, atol=1e-9)
    assert np.isnan(found.to_all[4])
    assert found.count.tolist() == [*sizes, 0]


def test_in_one_dimension_it_is_the_square_of_that_of_scipy():
    generator = np.random.default_rng(1)
    first, second = generator.standard_normal(20), generator.standard_normal(33) + 0.7
    found = energy_distances(
        first[:, None], np.zeros(20, np.intp), num_groups=1, controls=control_sample(second[:, None])
    )
    assert np.isclose(found.to_all[0], energy_distance(first, second) ** 2)


def test_a_single_point_away_from_equal_controls_is_twice_its_distance():
    controls = control_sample(np.tile([[1.0, 1.0]], (4, 1)))
    points = np.array([[4.0, 5.0], [1.0, 1.0]])
    found = energy_distances(points, np.array([0, 1]), num_groups=2, controls=controls)
    assert np.allclose(found.to_all, [10.0, 0.0])


def test_the_rest_leaves_out_the_drawn_controls():
    generator = np.random.default_rng(2)
    vectors, controls = generator.standard_normal((12, 3)) + 0.5, generator.standard_normal((40, 3))
    codes = np.repeat([0, 1], [5, 7])
    left_out = draw_left_out([5, 7, 21], num_controls=40, generator=generator)
    assert sorted(left_out) == [5, 7], "21 of 40 would leave fewer controls than members"
    found = energy_distances(
        vectors, codes, num_groups=2, controls=control_sample(controls), left_out=left_out
    )
    for group, size in enumerate([5, 7]):
        kept = np.delete(controls, left_out[size], axis=0)
        assert len(kept) == 40 - size
        assert np.isclose(found.to_rest[group], _slow(vectors[codes == group], kept))


def test_the_null_is_every_split_of_the_controls():
    generator = np.random.default_rng(3)
    controls = generator.standard_normal((5, 2))
    sample = control_sample(controls)
    null = null_energy_distances(sample, size=2, num_draws=3000, generator=generator)
    splits = [
        _slow(controls[[i, j]], np.delete(controls, [i, j], axis=0))
        for i in range(5)
        for j in range(i + 1, 5)
    ]
    gaps = np.abs(null[:, None] - np.array(splits)[None, :])
    assert gaps.min(axis=1).max() < 1e-12
    assert np.bincount(gaps.argmin(axis=1), minlength=10).min() > 200


def test_under_the_null_p_values_of_fresh_groups_are_uniform():
    generator = np.random.default_rng(4)
    below = 0
    for _ in range(40):
        sample = control_sample(generator.standard_normal((60, 4)))
        vectors, codes = generator.standard_normal((60, 4)), np.repeat(np.arange(10), 6)
        left_out = draw_left_out([6], num_controls=60, generator=generator)
        found = energy_distances(vectors, codes, num_groups=10, controls=sample, left_out=left_out)
        null = null_energy_distances(sample, size=6, num_draws=99, generator=generator)
        below += int(((found.to_rest[:, None] <= null[None, :]).sum(axis=1) + 1 <= 20).sum())
    # 400 p-values at .2; those of one sample of controls move together, so twice the binomial interval
    assert abs(below - 80) < 4 * np.sqrt(400 * 0.2 * 0.8)
