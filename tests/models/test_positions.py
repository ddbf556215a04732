"""Positions against a loop over the formula of science.md 1.2."""

import math

import numpy as np
import pytest

from phenoscale.models.positions import sincos_positions


def slow_positions(dim, grid_size):
    rows = [[0.0] * dim]
    quarter = dim // 4
    frequencies = [10000 ** (-i / quarter) for i in range(quarter)]
    for h in range(grid_size):
        for w in range(grid_size):
            rows.append(
                [math.sin(h * f) for f in frequencies]
                + [math.cos(h * f) for f in frequencies]
                + [math.sin(w * f) for f in frequencies]
                + [math.cos(w * f) for f in frequencies]
            )
    return np.array(rows)


@pytest.mark.parametrize(("dim", "grid_size"), [(8, 3), (48, 8), (192, 5)])
def test_positions_are_the_published_formula_with_zeros_for_the_class_token(dim, grid_size):
    table = sincos_positions(dim, grid_size=grid_size)
    assert table.shape == (1 + grid_size**2, dim)
    assert (table[0] == 0).all()
    np.testing.assert_allclose(table.numpy(), slow_positions(dim, grid_size), atol=1e-6)
