"""Intervals: closed forms where there are any, coverage where there are none."""

import numpy as np
import pytest
from scipy.stats import binomtest

from phenoscale.stats.intervals import (
    bootstrap_mean,
    bootstrap_pair_mean,
    centered_interval,
    mean_over_pairs,
    resample_counts,
    wilson_interval,
)


@pytest.mark.parametrize(("successes", "total"), [(0, 10), (3, 10), (89, 103), (10, 10)])
def test_the_binomial_interval_is_that_of_wilson(successes, total):
    found = wilson_interval(successes, total=total)
    expected = binomtest(successes, total).proportion_ci(method="wilson")
    assert found.value == successes / total
    assert np.allclose([found.low, found.high], [expected.low, expected.high])


def test_without_trials_there_is_no_value():
    assert np.isnan(wilson_interval(0, total=0).value)
    assert np.isnan(bootstrap_mean(np.empty(0), num_resamples=10, seed=0).value)


def test_the_weighted_mean_over_pairs_equals_repeating_genes():
    generator = np.random.default_rng(0)
    pairs = np.array([[0, 1], [0, 2], [1, 3], [5, 7]])
    values = np.array([1.0, 0.0, 1.0, 0.0])
    counts = resample_counts(8, num_resamples=50, generator=generator)
    found = mean_over_pairs(values, pairs_Q2=pairs, counts_BN=counts)
    for row, mean in zip(counts, found, strict=True):
        drawn = np.repeat(np.arange(8), row.astype(int))
        slow = [
            value
            for value, (left, right) in zip(values, pairs, strict=True)
            for _ in range(int((drawn == left).sum() * (drawn == right).sum()))
        ]
        assert np.isclose(mean, np.mean(slow)) if slow else np.isnan(mean)


def test_resampling_genes_is_wider_than_resampling_pairs_when_pairs_share_genes():
    # 20 modules of 10 genes; a module is either recalled or not.
    pairs = np.array(
        [(10 * m + i, 10 * m + j) for m in range(20) for i in range(10) for j in range(i + 1, 10)]
    )
    values = np.repeat(np.arange(20) < 10, 45).astype(float)
    counts = resample_counts(200, num_resamples=400, generator=np.random.default_rng(0))
    genes = bootstrap_pair_mean(values, pairs_Q2=pairs, counts_BN=counts)
    independent = bootstrap_mean(values, num_resamples=400, seed=0)
    assert genes.value == independent.value == 0.5
    assert genes.high - genes.low > 2 * (independent.high - independent.low)


def test_the_interval_of_a_mean_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        sample = generator.exponential(size=60)
        found = bootstrap_mean(sample, num_resamples=300, seed=seed)
        covered += found.low <= 1 <= found.high
    assert 0.87 <= covered / 200 <= 0.98


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(0).random(30)
    assert bootstrap_mean(values, num_resamples=50, seed=3) == bootstrap_mean(
        values, num_resamples=50, seed=3
    )


def test_a_centered_interval_is_as_wide_as_the_percentiles_and_lies_around_the_value():
    draws = np.linspace(0.5, 0.9, 401)
    found = centered_interval(0.4, resampled_B=draws)
    assert np.allclose([found.value, found.low, found.high], [0.4, 0.4 - 0.19, 0.4 + 0.19])
    clipped = centered_interval(0.1, resampled_B=draws, highest=0.2)
    assert (clipped.low, clipped.high) == (0.0, 0.2)
    assert np.isnan(centered_interval(0.4, resampled_B=np.array([np.nan])).low)
