"""The Kolmogorov-Smirnov test with direction equals scipy's, whatever the blocks."""

import numpy as np
import pytest
from scipy.stats import ks_2samp

from phenoscale.stats.ks_test import ks_test


@pytest.mark.parametrize("shift", [-0.5, 0.0, 0.4])
@pytest.mark.parametrize("decimals", [1, 8])
@pytest.mark.parametrize("sizes", [(1, 1), (45, 300), (200, 60), (60, 15_000)])
def test_statistic_direction_and_p_values_are_those_of_scipy(shift, decimals, sizes):
    generator = np.random.default_rng(sum(sizes))
    first = np.round(generator.standard_normal(sizes[0]) + shift, decimals)
    second = np.round(generator.standard_normal(sizes[1]), decimals)
    found = ks_test(first, np.array_split(second, min(7, sizes[1])))
    both = ks_2samp(first, second)
    larger = ks_2samp(first, second, alternative="less")
    smaller = ks_2samp(first, second, alternative="greater")
    assert np.isclose(found.statistic, both.statistic, atol=1e-14)
    assert np.isclose(found.p, both.pvalue, rtol=1e-9)
    assert np.isclose(found.p_larger, larger.pvalue, rtol=1e-9)
    assert found.sign == (1 if larger.statistic >= smaller.statistic else -1)
    assert found.size == sizes


def test_samples_apart_have_the_statistic_one_and_a_sign():
    low, high = np.arange(5.0), np.arange(10.0, 16.0)
    assert (ks_test(high, [low]).statistic, ks_test(high, [low]).sign) == (1.0, 1)
    assert (ks_test(low, [high]).statistic, ks_test(low, [high]).sign) == (1.0, -1)
    assert ks_test(low, [high]).p_larger == 1.0
