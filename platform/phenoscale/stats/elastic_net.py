"""Elastic net regressions of many targets on one design, strengths chosen by cross-validation.

The objective, the grid of strengths and the folds are scikit-learn's `ElasticNetCV`: with centered data
1/(2n) |y - X w|^2 + alpha (ratio |w|_1 + (1 - ratio)/2 |w|^2), alphas from the smallest that leaves w = 0
down to a thousandth of it, contiguous folds, the mean of the folds' mean squared errors, a fit on everything.
Cyclic coordinate descent with warm starts along the alphas (Friedman, Hastie, Tibshirani 2010,
doi:10.18637/jss.v033.i01), stopped by the duality gap. A fold's Gram matrix serves all targets and ratios:
one pass moves a block of coordinates of all problems, then updates their gradients in one matrix product.
Shapes: N samples, D dimensions, T targets, A alphas, L ratios, P problems, B coordinates of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.linalg.blas import dgemm
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]
Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.intp]
Result = TypeVar("Result")

_BLOCK = 64
_PROBLEMS_AT_ONCE = 640


@dataclass(frozen=True)
class ElasticNetSettings:
    """What is tried, and when a problem counts as solved.

    Attributes:
        l1_ratios: shares of the absolute penalty, above 0.
        num_alphas: strengths per ratio.
        smallest_alpha: the weakest strength, as a share of the strongest.
        num_folds: contiguous folds.
        tolerance: duality gap, as a share of the target's mean square.
        max_sweeps: sweeps over the coordinates per strength.
    """

    l1_ratios: tuple[float, ...] = (0.1, 0.6, 0.9, 0.95, 0.99)
    num_alphas: int = 100
    smallest_alpha: float = 1e-3
    num_folds: int = 5
    tolerance: float = 1e-4
    max_sweeps: int = 1000


@dataclass(frozen=True)
class ElasticNetFit:
    """One regression per target: predictions are samples @ coefficients + intercepts.

    Attributes:
        coefficients: [D, T].
        intercepts: [T].
        alphas: [T] chosen strengths.
        l1_ratios: [T] chosen ratios.
        errors: [L, A, T] mean over folds of the mean squared error.
        is_converged: [T] whether every problem of the target was solved to the tolerance.
    """

    coefficients: Array
    intercepts: Array
    alphas: Array
    l1_ratios: Array
    errors: Array
    is_converged: Mask

    def predict(self, samples_ND: Floats) -> Array:
        """Predictions [N, T]."""
        predicted: Array = samples_ND @ self.coefficients + self.intercepts
        return predicted


@dataclass(frozen=True)
class _Products:
    """Cross products of samples and targets around given means, divided by the number of samples."""

    gram: Array
    cross: Array
    energy: Array

    def of(self, targets: slice) -> _Products:
        return _Products(self.gram, self.cross[:, targets], self.energy[targets])


def fit_elastic_net_cv(
    samples_ND: Floats,
    targets_NT: Floats,
    *,
    settings: ElasticNetSettings,
    num_threads: int = 1,
    observe: Callable[[int], None] = lambda num_targets: None,
) -> ElasticNetFit:
    """Choose alpha and ratio of every target by cross-validation, and fit it on all samples.

    Results do not depend on the number of threads.

    Args:
        samples_ND: the design.
        targets_NT: the targets, none of them constant.
        settings: grid, folds and tolerance.
        num_threads: how many groups of targets are fitted at the same time.
        observe: called with the number of targets whenever a group is done; each target num_folds + 1 times.
    """
    samples, targets = samples_ND.astype(np.float64), targets_NT.astype(np.float64)
    mean_D, mean_T = samples.mean(axis=0), targets.mean(axis=0)
    samples -= mean_D
    targets -= mean_T
    everything = _products(samples, targets)
    grid_LAT = _alpha_grid(everything.cross, settings=settings)
    width = max(1, _PROBLEMS_AT_ONCE // len(settings.l1_ratios))
    groups = [slice(start, start + width) for start in range(0, targets.shape[1], width)]
    errors_LAT = np.zeros_like(grid_LAT)
    converged_T = np.ones(targets.shape[1], np.bool_)
    for rows in contiguous_folds(len(samples), num_folds=settings.num_folds):
        train, test = _split(samples, targets, rows=rows)
        score = _PathErrors(train, test, grid_LAT, settings)
        for group, (errors, solved) in zip(
            groups, _in_threads(score, groups, num_threads=num_threads), strict=True
        ):
            errors_LAT[:, :, group] += errors / settings.num_folds
            converged_T[group] &= solved
            observe(errors.shape[2])
    best = errors_LAT.reshape(-1, targets.shape[1]).argmin(axis=0)
    alphas_T = grid_LAT.reshape(-1, targets.shape[1])[best, np.arange(len(best))]
    ratios_T = np.repeat(settings.l1_ratios, settings.num_alphas)[best]
    refit = _Refit(everything, alphas_T, ratios_T, settings)
    coefficients = np.empty((samples.shape[1], targets.shape[1]))
    for group, (fitted, solved) in zip(
        groups, _in_threads(refit, groups, num_threads=num_threads), strict=True
    ):
        coefficients[:, group], converged_T[group] = fitted, converged_T[group] & solved
        observe(fitted.shape[1])
    intercepts = mean_T - mean_D @ coefficients
    return ElasticNetFit(coefficients, intercepts, alphas_T, ratios_T, errors_LAT, converged_T)


def contiguous_folds(num_samples: int, *, num_folds: int) -> list[slice]:
    """Consecutive parts whose sizes differ by at most one, the larger first."""
    sizes = np.full(num_folds, num_samples // num_folds)
    sizes[: num_samples % num_folds] += 1
    stops = np.cumsum(sizes)
    return [slice(int(stop - size), int(stop)) for size, stop in zip(sizes, stops, strict=True)]


@dataclass(frozen=True)
class _PathErrors:
    """Mean squared errors [L, A, T'] on a test part along the alphas, of a group of targets."""

    train: _Products
    test: _Products
    grid_LAT: Array
    settings: ElasticNetSettings

    def __call__(self, group: slice) -> tuple[Array, Mask]:
        train, test, grid = self.train.of(group), self.test.of(group), self.grid_LAT[:, :, group]
        num_ratios, num_alphas, num_targets = grid.shape
        ratios_P = np.repeat(self.settings.l1_ratios, num_targets)
        tiled = _Products(train.gram, np.tile(train.cross, num_ratios), np.tile(train.energy, num_ratios))
        problems = _Problems(tiled, settings=self.settings)
        errors = np.empty((num_ratios, num_alphas, num_targets))
        solved = np.ones(num_ratios * num_targets, np.bool_)
        for number in range(num_alphas):
            alpha_P = grid[:, number].ravel()
            solved &= problems.solve(l1_P=alpha_P * ratios_P, l2_P=alpha_P * (1 - ratios_P))
            for ratio in range(num_ratios):
                own = problems.weights[:, ratio * num_targets : (ratio + 1) * num_targets]
                squares = np.einsum("dt,dt->t", own, test.gram @ own - 2 * test.cross)
                errors[ratio, number] = test.energy + squares
        return errors, np.asarray(solved.reshape(num_ratios, num_targets).all(axis=0), np.bool_)


@dataclass(frozen=True)
class _Refit:
    """Coefficients [D, T'] at the chosen strengths, from zero."""

    everything: _Products
    alphas_T: Array
    ratios_T: Array
    settings: ElasticNetSettings

    def __call__(self, group: slice) -> tuple[Array, Mask]:
        part = self.everything.of(group)
        alpha_P, ratio_P = self.alphas_T[group], self.ratios_T[group]
        problems = _Problems(part, settings=self.settings)
        solved = problems.solve(l1_P=alpha_P * ratio_P, l2_P=alpha_P * (1 - ratio_P))
        return problems.weights, solved


class _Problems:
    """P problems over one Gram matrix; `weights` go on from where the last strengths left them."""

    def __init__(self, products: _Products, *, settings: ElasticNetSettings) -> None:
        self._gram, self._cross, self._energy = products.gram, products.cross, products.energy
        self._settings = settings
        self.weights = np.zeros(self._cross.shape)
        self._gradient = np.array(self._cross, order="C")

    def solve(self, *, l1_P: Array, l2_P: Array) -> Mask:
        """Move the weights to the minimum; say which problems reached the tolerance."""
        left = np.arange(len(l1_P))
        weights, gradient = self.weights, self._gradient
        for _ in range(self._settings.max_sweeps):
            step, size = _sweep(weights, gradient, gram_DD=self._gram, l1_P=l1_P[left], l2_P=l2_P[left])
            still = np.flatnonzero(step <= self._settings.tolerance * size)
            chosen = left[still]
            gap = _duality_gap(
                weights[:, still],
                gradient[:, still],
                cross_DP=self._cross[:, chosen],
                energy_P=self._energy[chosen],
                l1_P=l1_P[chosen],
                l2_P=l2_P[chosen],
            )
            done = still[gap <= self._settings.tolerance * self._energy[chosen]]
            if not len(done):
                continue
            self._store(weights, gradient, at=left)
            left = np.delete(left, done)
            if not len(left):
                break
            weights = np.ascontiguousarray(self.weights[:, left])
            gradient = np.ascontiguousarray(self._gradient[:, left])
        self._store(weights, gradient, at=left)
        solved = np.ones(len(l1_P), np.bool_)
        solved[left] = False
        return solved

    def _store(self, weights: Array, gradient: Array, *, at: Positions) -> None:
        if weights is not self.weights and len(at):
            self.weights[:, at], self._gradient[:, at] = weights, gradient


def _sweep(
    weights_DP: Array, gradient_DP: Array, *, gram_DD: Array, l1_P: Array, l2_P: Array
) -> tuple[Array, Array]:
    """Minimize over each coordinate in turn, in place; largest change and largest weight of each problem."""
    num_problems = weights_DP.shape[1]
    step, size = np.zeros(num_problems), np.zeros(num_problems)
    for start in range(0, len(gram_DD), _BLOCK):
        block = slice(start, min(start + _BLOCK, len(gram_DD)))
        inner = gram_DD[block, block]
        local = gradient_DP[block].copy()
        change = np.zeros_like(local)
        for row, coordinate in enumerate(range(block.start, block.stop)):
            curvature = inner[row, row]
            if curvature == 0:
                continue
            old = weights_DP[coordinate]
            pull = local[row] + curvature * old
            new = (pull - np.clip(pull, -l1_P, l1_P)) / (curvature + l2_P)
            np.maximum(size, np.abs(new), out=size)
            moved = np.subtract(new, old, out=change[row])
            if moved.any():
                np.maximum(step, np.abs(moved), out=step)
                weights_DP[coordinate] = new
                local[row + 1 :] -= inner[row + 1 :, row, None] * moved
        if change.any():
            # In place, gradient -= gram[:, block] @ change: Fortran sees the transposed arrays.
            dgemm(-1.0, change.T, gram_DD[:, block].T, beta=1.0, c=gradient_DP.T, overwrite_c=1)
    return step, size


def _duality_gap(
    weights_DP: Array, gradient_DP: Array, *, cross_DP: Array, energy_P: Array, l1_P: Array, l2_P: Array
) -> Array:
    """How far the objective can still fall, at most; everything per sample."""
    if not weights_DP.shape[1]:
        return np.empty(0)
    norm = np.abs(gradient_DP - l2_P * weights_DP).max(axis=0)
    explained = np.einsum("dp,dp->p", weights_DP, cross_DP)
    residual = energy_P - explained - np.einsum("dp,dp->p", weights_DP, gradient_DP)
    shrunk = np.where(norm > l1_P, l1_P / np.where(norm > 0, norm, 1.0), 1.0)
    squares = np.einsum("dp,dp->p", weights_DP, weights_DP)
    gap = 0.5 * (1 + shrunk**2) * (residual + l2_P * squares)
    return np.asarray(gap + l1_P * np.abs(weights_DP).sum(axis=0) - shrunk * (energy_P - explained))


def _products(samples: Array, targets: Array) -> _Products:
    count = len(samples)
    energy = np.einsum("nt,nt->t", targets, targets)
    return _Products(samples.T @ samples / count, samples.T @ targets / count, energy / count)


def _split(samples: Array, targets: Array, *, rows: slice) -> tuple[_Products, _Products]:
    """Products of the training part around its means, and of the test part around those same means."""
    kept = np.ones(len(samples), np.bool_)
    kept[rows] = False
    train_x, train_y = samples[kept], targets[kept]
    mean_x, mean_y = train_x.mean(axis=0), train_y.mean(axis=0)
    train = _products(train_x - mean_x, train_y - mean_y)
    return train, _products(samples[rows] - mean_x, targets[rows] - mean_y)


def _alpha_grid(cross_DT: Array, *, settings: ElasticNetSettings) -> Array:
    """[L, A, T], from the smallest alpha that leaves all weights zero."""
    largest_T = np.abs(cross_DT).max(axis=0)
    steps_A = np.geomspace(1.0, settings.smallest_alpha, settings.num_alphas)
    ratios_L = np.asarray(settings.l1_ratios)
    return np.asarray(largest_T[None, None] * steps_A[None, :, None] / ratios_L[:, None, None])


def _in_threads(
    function: Callable[[slice], Result], groups: Sequence[slice], *, num_threads: int
) -> Iterable[Result]:
    """Apply a function to all groups, in their order; each call uses one thread of linear algebra."""
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(max(num_threads, 1)) as pool:
        yield from pool.map(function, groups)
