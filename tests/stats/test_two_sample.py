"""Two-sample distances: equal to scipy, and their bootstrap to repeating the samples."""

import numpy as np
import pytest
from scipy.stats import cramervonmises_2samp, ks_2samp

from phenoscale.stats.two_sample import cvm_statistic, ks_statistic, resampled_statistics


@pytest.mark.parametrize("seed", range(10))
def test_both_statistics_are_those_of_scipy_with_and_without_ties(seed):
    generator = np.random.default_rng(seed)
    first, second = (
        generator.standard_normal(int(generator.integers(5, 80))),
        generator.standard_normal(40) + 0.3,
    )
    if seed % 2:
        first, second = np.round(first, 1), np.round(second, 1)
    assert np.isclose(ks_statistic(first, second), ks_2samp(first, second, method="asymp").statistic)
    expected = cramervonmises_2samp(first, second, method="asymptotic").statistic
    assert np.isclose(cvm_statistic(first, second), expected)


def test_an_empty_sample_has_no_distance():
    assert np.isnan(ks_statistic(np.empty(0), np.ones(3)))
    assert np.isnan(cvm_statistic(np.ones(3), np.empty(0)))


def test_weights_of_one_give_the_plain_statistics():
    generator = np.random.default_rng(0)
    first, second = generator.standard_normal(50), generator.standard_normal(70) + 0.5
    ks, cvm = resampled_statistics(first, second, weights_Bn=np.ones((1, 50)), weights_Bm=np.ones((1, 70)))
    assert np.isclose(ks[0], ks_statistic(first, second))
    assert np.isclose(cvm[0], cvm_statistic(first, second))


def test_weights_are_the_same_as_repeating_samples():
    generator = np.random.default_rng(1)
    first, second = np.round(generator.standard_normal(30), 1), np.round(generator.standard_normal(30), 1)
    weights = generator.multinomial(30, np.full(30, 1 / 30), size=5).astype(float)
    ks, _ = resampled_statistics(first, second, weights_Bn=weights, weights_Bm=weights)
    for row, value in zip(weights.astype(int), ks, strict=True):
        assert np.isclose(value, ks_statistic(np.repeat(first, row), np.repeat(second, row)))
