"""Moments: one pass over blocks equals numpy on everything at once."""

import numpy as np
import pytest
from scipy.linalg import fractional_matrix_power
from sklearn.preprocessing import StandardScaler

from phenoscale.stats.moments import (
    BLOCK_ROWS,
    handle_zero_scales,
    inverse_square_root,
    moments,
    sorted_eigenpairs,
)


@pytest.mark.parametrize("num_rows", [1, 100, BLOCK_ROWS, 2 * BLOCK_ROWS + 7])
def test_blocks_of_rows_give_the_moments_of_all_rows(num_rows):
    samples = np.random.default_rng(0).standard_normal((num_rows, 5)) * [1, 2, 3, 4, 5] + 1e6
    found = moments(samples, full=True)
    assert found.count == num_rows
    assert np.allclose(found.mean, samples.mean(axis=0), rtol=1e-14)
    assert np.allclose(found.covariance(ddof=0), np.cov(samples, rowvar=False, ddof=0), rtol=1e-9, atol=1e-9)
    assert np.allclose(moments(samples, full=False).variance, samples.var(axis=0), rtol=1e-9, atol=1e-9)


def test_chosen_rows_of_float32_are_summed_in_float64():
    samples = (np.random.default_rng(1).standard_normal((500, 3)) + 1000).astype(np.float32)
    rows = np.arange(0, 500, 3)
    found = moments(samples, rows=rows, full=True)
    assert np.allclose(found.mean, samples[rows].astype(np.float64).mean(axis=0), rtol=1e-14)
    assert np.allclose(found.covariance(ddof=1), np.cov(samples[rows].astype(np.float64), rowvar=False))


def test_scales_are_those_of_the_standard_scaler():
    samples = np.random.default_rng(2).standard_normal((50, 4))
    samples[:, 1] = 3.0
    samples[:, 2] = 0.1  # 0.1 has no exact mean in binary: its deviation is rounding, not zero
    assert np.allclose(moments(samples, full=False).deviation, StandardScaler().fit(samples).scale_)


def test_a_scale_that_is_only_rounding_becomes_one():
    scales = handle_zero_scales(np.array([0.0, 1e-17, 1e-3]), mean_D=np.array([0.0, 1.0, 1.0]))
    assert scales.tolist() == [1.0, 1.0, 1e-3]


def test_the_inverse_square_root_is_the_fractional_power():
    root = np.random.default_rng(3).standard_normal((6, 6))
    matrix = root @ root.T + 0.5 * np.eye(6)
    assert np.allclose(inverse_square_root(matrix), fractional_matrix_power(matrix, -0.5), atol=1e-10)


def test_eigenpairs_are_sorted_and_their_sign_is_fixed():
    root = np.random.default_rng(4).standard_normal((6, 6))
    values, vectors = sorted_eigenpairs(root @ root.T)
    assert (np.diff(values) <= 0).all()
    assert np.allclose(vectors * values @ vectors.T, root @ root.T)
    assert (vectors[np.abs(vectors).argmax(axis=0), np.arange(6)] > 0).all()
