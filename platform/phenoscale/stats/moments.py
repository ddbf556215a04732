"""Means, covariances and their square roots in float64, one pass over blocks of rows.

Blocks are merged as in Chan, Golub, LeVeque (1983), doi:10.1080/00031305.1983.10483115, so that a large
offset costs no digits and no second copy of the data is made. Shapes: N samples, D dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]
BLOCK_ROWS = 4096


@dataclass(frozen=True)
class Moments:
    """Count, mean and scatter (sum of squared deviations) of some rows.

    Attributes:
        count: number of rows.
        mean: their mean, [D].
        scatter: [D, D] sum of outer products of deviations, or [D] its diagonal.
    """

    count: int
    mean: Array
    scatter: Array

    @property
    def variance(self) -> Array:
        """Variances with divisor N."""
        diagonal = self.scatter if self.scatter.ndim == 1 else np.diagonal(self.scatter)
        return np.asarray(diagonal / max(self.count, 1), np.float64)

    @property
    def deviation(self) -> Array:
        """Standard deviations with divisor N; 1 where a column is constant, as in scikit-learn's scaler."""
        return handle_zero_scales(np.sqrt(self.variance), mean_D=self.mean)

    def covariance(self, *, ddof: int) -> Array:
        """Covariance matrix with divisor N - ddof."""
        assert self.scatter.ndim == 2, "only the diagonal was kept"
        assert self.count > ddof, f"{self.count} rows are too few for ddof {ddof}"
        return self.scatter / (self.count - ddof)

    def merge(self, other: Moments) -> Moments:
        """Moments of the rows of both."""
        count = self.count + other.count
        shift_D = other.mean - self.mean
        weight = self.count * other.count / max(count, 1)
        between = np.outer(shift_D, shift_D) if self.scatter.ndim == 2 else shift_D**2
        return Moments(
            count=count,
            mean=self.mean + shift_D * (other.count / max(count, 1)),
            scatter=self.scatter + other.scatter + weight * between,
        )


def row_blocks(num_rows: int, *, size: int = BLOCK_ROWS) -> Iterator[slice]:
    """Consecutive slices of at most `size` rows."""
    for start in range(0, num_rows, size):
        yield slice(start, min(start + size, num_rows))


def moments(samples_ND: Floats, *, rows: npt.NDArray[np.intp] | None = None, full: bool) -> Moments:
    """Moments of the chosen rows, at most BLOCK_ROWS of them in float64 at a time.

    Args:
        samples_ND: the samples, of any float type.
        rows: positions of the rows to use; all when None.
        full: keep the whole scatter matrix, not only its diagonal.
    """
    dimensions = samples_ND.shape[1]
    total = Moments(0, np.zeros(dimensions), np.zeros((dimensions, dimensions) if full else dimensions))
    for block in row_blocks(len(samples_ND) if rows is None else len(rows)):
        chunk = samples_ND[block] if rows is None else samples_ND[rows[block]]
        total = total.merge(_block_moments(chunk.astype(np.float64, copy=False), full=full))
    return total


def handle_zero_scales(scale_D: Array, *, mean_D: Array) -> Array:
    """Replace scales that are zero up to rounding by 1, so that a constant column stays finite."""
    noise_D = 10 * np.finfo(np.float64).eps * np.maximum(np.abs(mean_D), np.finfo(np.float64).tiny)
    return np.where(scale_D <= noise_D, 1.0, scale_D)


def sorted_eigenpairs(symmetric_DD: Array) -> tuple[Array, Array]:
    """Eigenvalues from the largest and eigenvectors as columns; the largest entry of each is positive."""
    values_D, vectors_DD = np.linalg.eigh((symmetric_DD + symmetric_DD.T) / 2)
    values_D, vectors_DD = values_D[::-1], vectors_DD[:, ::-1]
    largest_D = vectors_DD[np.abs(vectors_DD).argmax(axis=0), np.arange(vectors_DD.shape[1])]
    return np.maximum(values_D, 0.0), vectors_DD * np.where(largest_D < 0, -1.0, 1.0)


def inverse_square_root(symmetric_DD: Array) -> Array:
    """The symmetric inverse square root of a positive definite matrix, by eigendecomposition.

    Unlike scipy's fractional_matrix_power it cannot turn complex and is several times faster.
    """
    values_D, vectors_DD = np.linalg.eigh((symmetric_DD + symmetric_DD.T) / 2)
    assert values_D[0] > 0, (
        f"the matrix has the eigenvalue {values_D[0]:.3g}, so it has no inverse square root"
    )
    return np.asarray((vectors_DD / np.sqrt(values_D)) @ vectors_DD.T, np.float64)


def _block_moments(chunk_ND: Array, *, full: bool) -> Moments:
    mean_D = chunk_ND.mean(axis=0)
    centered_ND = chunk_ND - mean_D
    scatter = centered_ND.T @ centered_ND if full else np.einsum("nd,nd->d", centered_ND, centered_ND)
    return Moments(len(chunk_ND), mean_D, scatter)
