"""Multinomial logistic probes, all folds and strengths of regularization of a design trained together.

The objective is scikit-learn's: features standardized on the training rows, class-balanced cross-entropy
summed over rows times C, plus half the squared norm of the coefficients (intercepts are free), in the
logistic (one-vector) form when the training rows hold two classes. Mean losses are minimized, so C enters as
1 / (C sum of weights). All folds share one design matrix: a fold is a weighting of its rows, and its
standardization an affine map of the coefficients, so one product X @ U serves all folds and strengths. Each
fold works in the eigenbasis of its weighted covariance, where the penalty keeps its form and the Hessian is
nearly diagonal: Boehning (1992), doi:10.1007/BF00048682, bounds it by these eigenvalues.
Products are taken in float32; what float32 cannot finish is finished in float64.
Shapes: N rows, D features, K classes, F folds, S strengths, P = F * S problems, B blocks, W parameters.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_info, threadpool_limits  # type: ignore[import-untyped]

from phenoscale.stats.softmax_lbfgs import BatchMinimum, minimize_batch

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]

MEMORY = 20
WORKING_BYTES = 512 * 2**20


@dataclass(frozen=True)
class SoftmaxFit:
    """The probes in the units of the features given: logits = features @ coefficients + intercepts.

    Attributes:
        coefficients: [F, S, D, K].
        intercepts: [F, S, K]; minus infinity for classes absent from the fold's training rows.
        iterations: [F, S].
        converged: [F, S].
    """

    coefficients: Floats
    intercepts: Floats
    iterations: npt.NDArray[np.int64]
    converged: Flags

    def logits(self, features_ND: npt.ArrayLike, *, fold: int, strength: int) -> Floats:
        """Return logits [N, K]."""
        design = np.asarray(features_ND, dtype=np.float64)
        logits: Floats = design @ self.coefficients[fold, strength] + self.intercepts[fold, strength]
        return logits


@dataclass(frozen=True)
class _Fold:
    """One fold's view of the design: affine map into its eigenbasis, and the weights of the rows."""

    rotation: Floats
    offset: Floats
    variances: Floats
    weights: Floats
    total_weight: float
    is_present: Flags

    @property
    def penalty_factor(self) -> float:
        # Two opposite vectors carry half the squared norm of the single vector of the logistic form.
        return 2.0 if np.count_nonzero(self.is_present) == 2 else 1.0


def balanced_weights(labels_N: Indices, num_classes: int) -> Floats:
    """Weights n / (K n_k) of the rows, K the number of classes present."""
    counts = np.bincount(labels_N, minlength=num_classes)
    present = np.count_nonzero(counts)
    per_class = len(labels_N) / (present * np.maximum(counts, 1))
    weights: Floats = per_class[labels_N]
    return weights


def _prepare_fold(design_ND: Floats, labels_N: Indices, *, is_train_N: Flags, num_classes: int) -> _Fold:
    train_ND = design_ND[is_train_N]
    weights = balanced_weights(labels_N[is_train_N], num_classes)
    deviation = train_ND.std(axis=0)
    constant = deviation <= 1e-12 * np.maximum(np.abs(train_ND).max(axis=0), 1.0)
    deviation = np.where(constant, 1.0, deviation)
    total = float(weights.sum())
    center = weights @ train_ND / total
    centered = (train_ND - center) / deviation
    centered[:, constant] = 0.0
    variances, basis = np.linalg.eigh((centered * weights[:, None]).T @ centered / total)
    rotation = np.where(constant, 0.0, 1.0 / deviation)[:, None] * basis
    all_weights = np.zeros(len(design_ND))
    all_weights[is_train_N] = weights / total
    counts = np.bincount(labels_N[is_train_N], minlength=num_classes)
    return _Fold(rotation, -center @ rotation, np.maximum(variances, 0.0), all_weights, total, counts > 0)


@dataclass(frozen=True)
class _Problems:
    """P softmax regressions over one design, with everything `evaluate` needs, in one precision."""

    design: npt.NDArray[Any]
    labels: Indices
    rotations: npt.NDArray[Any]
    offsets: npt.NDArray[Any]
    weights: npt.NDArray[Any]
    penalties: Floats
    barriers: npt.NDArray[Any]

    def in_precision(self, dtype: type[np.floating[Any]]) -> "_Problems":
        return replace(
            self,
            design=self.design.astype(dtype),
            rotations=self.rotations.astype(dtype),
            offsets=self.offsets.astype(dtype),
            weights=self.weights.astype(dtype),
            barriers=self.barriers.astype(dtype),
        )

    def of(self, chosen: Indices) -> "_Problems":
        return replace(
            self,
            rotations=self.rotations[chosen],
            offsets=self.offsets[chosen],
            weights=self.weights[chosen],
            penalties=self.penalties[chosen],
            barriers=self.barriers[chosen],
        )

    def evaluate(self, parameters_pW: Floats, chosen: Indices) -> tuple[Floats, Floats]:
        """Penalized mean cross-entropy and gradient of the chosen problems; the intercept comes last."""
        num_rows, num_features = self.design.shape
        num_problems, num_classes = len(chosen), self.barriers.shape[1]
        exact = parameters_pW.reshape(num_problems, num_features + 1, num_classes)
        coefficients = exact[:, :-1].astype(self.design.dtype)
        rotations, offsets, penalties = self.rotations[chosen], self.offsets[chosen], self.penalties[chosen]
        shared = (rotations @ coefficients).transpose(2, 0, 1).reshape(-1, num_features)
        intercepts = exact[:, -1] + np.einsum("pd,pdk->pk", offsets, coefficients) + self.barriers[chosen]
        logits = (shared @ self.design.T).reshape(num_classes, num_problems, num_rows)
        logits += intercepts.T[:, :, None].astype(logits.dtype)
        losses, residuals = _cross_entropy(logits, labels_N=self.labels, weights_PN=self.weights[chosen])
        squares = np.einsum("pdk,pdk->p", exact[:, :-1], exact[:, :-1])
        pulled = residuals.reshape(-1, num_rows) @ self.design
        pulled = pulled.reshape(num_classes, num_problems, num_features).transpose(1, 2, 0)
        free = residuals.sum(axis=2, dtype=np.float64).T[:, None]
        gradient = rotations.transpose(0, 2, 1) @ pulled + offsets[:, :, None] * free
        gradient = gradient + penalties[:, None, None] * exact[:, :-1]
        joined = np.concatenate([gradient, free], axis=1)
        return losses + 0.5 * penalties * squares, joined.reshape(num_problems, -1)


def _cross_entropy(
    logits_KPN: npt.NDArray[Any], *, labels_N: Indices, weights_PN: npt.NDArray[Any]
) -> tuple[Floats, npt.NDArray[Any]]:
    """Weighted sums [P] of the losses, and weighted probabilities minus targets [K, P, N].

    The logits are overwritten. Classes come first: every reduction over them runs along contiguous rows.
    """
    logits_KPN -= logits_KPN.max(axis=0)
    own = np.take_along_axis(logits_KPN, labels_N[None, None, :], axis=0)
    np.exp(logits_KPN, out=logits_KPN)
    totals = logits_KPN.sum(axis=0)
    losses = np.where(weights_PN > 0, np.log(totals) - own[0], 0.0)
    sums: Floats = np.einsum("pn,pn->p", weights_PN, losses, dtype=np.float64)
    logits_KPN *= weights_PN / totals
    targets = np.take_along_axis(logits_KPN, labels_N[None, None, :], axis=0) - weights_PN
    np.put_along_axis(logits_KPN, labels_N[None, None, :], targets, axis=0)
    return sums, logits_KPN


def _scales(folds: Sequence[_Fold], penalties: Floats, *, num_strengths: int) -> Floats:
    """Inverse curvature at the start, where every present class has probability 1 / K."""
    rows = []
    for problem, penalty in enumerate(penalties):
        fold = folds[problem // num_strengths]
        share = 1.0 / max(int(np.count_nonzero(fold.is_present)), 2)
        curvature = np.append(share * (1.0 - share) * fold.variances + penalty, share * (1.0 - share))
        rows.append(np.repeat(1.0 / curvature, len(fold.is_present)))
    return np.stack(rows)


def _minimize(problems: _Problems, scales_PW: Floats, *, tolerance: float) -> BatchMinimum:
    """Float32 first; the problems it leaves unfinished go on in float64 from where they are."""
    start = np.zeros_like(scales_PW)
    rough = minimize_batch(
        problems.in_precision(np.float32).evaluate,
        start,
        scale_PW=scales_PW,
        tolerance=tolerance,
        rounding=3e-7,
        memory=MEMORY,
    )
    left = np.flatnonzero(~rough.converged)
    if not len(left):
        return rough
    fine = minimize_batch(
        problems.of(left).evaluate,
        rough.parameters[left],
        scale_PW=scales_PW[left],
        tolerance=tolerance,
        rounding=1e-15,
        memory=MEMORY,
    )
    parameters, values = rough.parameters.copy(), rough.values.copy()
    iterations, converged = rough.iterations.copy(), rough.converged.copy()
    parameters[left], values[left], converged[left] = fine.parameters, fine.values, fine.converged
    iterations[left] += fine.iterations
    return BatchMinimum(parameters, values, iterations, converged)


def fit_softmax(
    features_ND: npt.ArrayLike,
    *,
    labels_N: Indices,
    is_train_FN: Flags,
    inverse_regularization: Sequence[float],
    num_classes: int,
    tolerance: float = 1e-10,
    working_bytes: int = WORKING_BYTES,
) -> SoftmaxFit:
    """Fit one class-balanced softmax regression per fold and strength of regularization.

    Args:
        features_ND: the design, any scale; standardized per fold on its training rows.
        labels_N: class codes 0 .. K-1.
        is_train_FN: which rows each fold trains on; every fold needs at least one.
        inverse_regularization: scikit-learn's C, one or several.
        num_classes: K.
        tolerance: predicted decrease of the mean loss at which a probe counts as converged.
        working_bytes: folds are taken in groups whose working arrays stay below this size.
    """
    raw = np.asarray(features_ND, dtype=np.float64)
    center, deviation = raw.mean(axis=0), raw.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    design = (raw - center) / deviation
    strengths = np.asarray(inverse_regularization, dtype=np.float64)
    chunk = max(1, working_bytes // _bytes_per_fold(design.shape, num_classes, num_strengths=len(strengths)))
    parts = []
    for first in range(0, len(is_train_FN), chunk):
        folds = [
            _prepare_fold(design, labels_N, is_train_N=is_train, num_classes=num_classes)
            for is_train in is_train_FN[first : first + chunk]
        ]
        parts.append(_fit_folds(design, labels_N, folds=folds, strengths_S=strengths, tolerance=tolerance))
    coefficients = np.concatenate([part.coefficients for part in parts]) / deviation[:, None]
    shifts = np.einsum("d,fsdk->fsk", center, coefficients)
    intercepts = np.concatenate([part.intercepts for part in parts]) - shifts
    return SoftmaxFit(
        coefficients,
        intercepts,
        np.concatenate([part.iterations for part in parts]),
        np.concatenate([part.converged for part in parts]),
    )


def _bytes_per_fold(shape: tuple[int, ...], num_classes: int, *, num_strengths: int) -> int:
    num_rows, num_features = shape
    width = (num_features + 1) * num_classes
    per_problem = 12 * num_rows * num_classes + 16 * (MEMORY + 4) * width + 20 * num_features**2
    return per_problem * num_strengths


def _fit_folds(
    design_ND: Floats, labels_N: Indices, *, folds: Sequence[_Fold], strengths_S: Floats, tolerance: float
) -> SoftmaxFit:
    num_strengths = len(strengths_S)
    problems = _Problems(
        design=design_ND,
        labels=labels_N,
        rotations=np.stack([fold.rotation for fold in folds for _ in strengths_S]),
        offsets=np.stack([fold.offset for fold in folds for _ in strengths_S]),
        weights=np.stack([fold.weights for fold in folds for _ in strengths_S]),
        penalties=np.array(
            [fold.penalty_factor / (c * fold.total_weight) for fold in folds for c in strengths_S]
        ),
        barriers=np.stack([np.where(fold.is_present, 0.0, -np.inf) for fold in folds for _ in strengths_S]),
    )
    scales = _scales(folds, problems.penalties, num_strengths=num_strengths)
    found = _minimize(problems, scales, tolerance=tolerance)
    num_features, num_classes = design_ND.shape[1], problems.barriers.shape[1]
    parameters = found.parameters.reshape(-1, num_features + 1, num_classes)
    coefficients = problems.rotations @ parameters[:, :-1]
    shifts = np.einsum("pd,pdk->pk", problems.offsets, parameters[:, :-1])
    intercepts = parameters[:, -1] + shifts + problems.barriers
    shape = (len(folds), num_strengths)
    return SoftmaxFit(
        coefficients.reshape(*shape, num_features, num_classes),
        intercepts.reshape(*shape, num_classes),
        found.iterations.reshape(shape),
        found.converged.reshape(shape),
    )


@dataclass(frozen=True)
class OutOfFold:
    """Predictions [B, S, N] of the rows while they were held out, iterations and convergence [B, F, S]."""

    predictions: Indices
    iterations: npt.NDArray[np.int64]
    converged: Flags


def predict_out_of_fold(
    features_BND: Iterable[npt.ArrayLike],
    *,
    labels_N: Indices,
    folds_N: Indices,
    inverse_regularization: Sequence[float],
    num_classes: int,
) -> OutOfFold:
    """Cross-validate the probes of every block: each row is predicted by the fold that did not train on it.

    As many blocks are fitted at the same time as the linear algebra library may use threads, each in a single
    thread: reductions over classes then run in parallel as well, and results do not depend on the number.

    Args:
        features_BND: one design per block; any iterable, read as far as there are threads.
        labels_N: class codes 0 .. K-1.
        folds_N: the fold 0 .. F-1 that holds each row out.
        inverse_regularization: scikit-learn's C, one or several.
        num_classes: K.
    """
    predict = partial(
        _predict_block,
        labels_N=labels_N,
        is_held_FN=np.arange(folds_N.max() + 1)[:, None] == folds_N,
        inverse_regularization=inverse_regularization,
        num_classes=num_classes,
    )
    threads = max(
        (entry["num_threads"] for entry in threadpool_info() if entry["user_api"] == "blas"), default=1
    )
    running: deque[Future[OutOfFold]] = deque()
    done: list[OutOfFold] = []
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        for features_ND in features_BND:
            if len(running) == threads:
                done.append(running.popleft().result())
            running.append(pool.submit(predict, np.asarray(features_ND)))
        done += [future.result() for future in running]
    return OutOfFold(
        np.stack([block.predictions for block in done]),
        np.stack([block.iterations for block in done]),
        np.stack([block.converged for block in done]),
    )


def _predict_block(
    design_ND: npt.NDArray[Any],
    *,
    labels_N: Indices,
    is_held_FN: Flags,
    inverse_regularization: Sequence[float],
    num_classes: int,
) -> OutOfFold:
    """One block's part of `predict_out_of_fold`, without the axis of blocks."""
    fit = fit_softmax(
        design_ND,
        labels_N=labels_N,
        is_train_FN=~is_held_FN,
        inverse_regularization=inverse_regularization,
        num_classes=num_classes,
    )
    predictions = np.empty((len(inverse_regularization), len(labels_N)), dtype=np.intp)
    for fold, is_held in enumerate(is_held_FN):
        for strength in range(len(inverse_regularization)):
            logits = fit.logits(design_ND[is_held], fold=fold, strength=strength)
            predictions[strength, is_held] = logits.argmax(axis=1)
    return OutOfFold(predictions, fit.iterations, fit.converged)
