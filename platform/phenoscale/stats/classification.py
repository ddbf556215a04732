"""How well a label is read from vectors: cross-validated multinomial logistic regression, balanced accuracy.

The protocol of the field's confound checks: standardize on the training fold, L2 logistic regression with
balanced class weights, pool the out-of-fold predictions, average the recalls of the classes.
Shapes: N samples, D dimensions, K classes, G groups, B resamples.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from phenoscale.stats.intervals import Estimate, percentile_interval, resample_counts
from phenoscale.stats.moments import Floats, moments

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[Any]
Positions = npt.NDArray[np.intp]
Fold = tuple[Positions, Positions]


@dataclass(frozen=True)
class Predictions:
    """Out-of-fold predictions.

    Attributes:
        truth: labels of the N predicted samples.
        predicted: what was predicted for them.
        rows: their positions in the input.
    """

    truth: Labels
    predicted: Labels
    rows: Positions


def stratified_folds(labels_N: Labels, *, groups_N: Labels | None, num_folds: int, seed: int) -> list[Fold]:
    """Shuffled folds with like class shares; with groups, no group is in both parts of a fold."""
    empty = np.zeros((len(labels_N), 1))
    with warnings.catch_warnings():
        # scikit-learn warns of classes smaller than the number of folds; callers count them as excluded.
        warnings.simplefilter("ignore", UserWarning)
        if groups_N is None:
            splitter = StratifiedKFold(num_folds, shuffle=True, random_state=seed)
            return list(splitter.split(empty, labels_N))
        grouped = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed)
        return list(grouped.split(empty, labels_N, groups_N))


def cross_validate(
    samples_ND: Floats, labels_N: Labels, *, folds: Iterable[Fold], inverse_regularization: float
) -> Predictions:
    """Predict every test part from its training part; a fold with a single training class is left out.

    Products are too small to share: in one thread a fit of 735 genes takes less than .1 s, in two that wait
    for other work 5.
    """
    rows: list[Positions] = []
    predicted: list[Labels] = []
    for train, test in folds:
        if len(np.unique(labels_N[train])) < 2 or not len(test):
            continue
        scale = moments(samples_ND, rows=train, full=False)
        model = LogisticRegression(C=inverse_regularization, class_weight="balanced", max_iter=1000)
        with warnings.catch_warnings(), threadpool_limits(1, user_api="blas"):
            # An optimum that is not reached to the last digit does not change a prediction's class.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit((samples_ND[train] - scale.mean) / scale.deviation, labels_N[train])
        rows.append(test)
        predicted.append(model.predict((samples_ND[test] - scale.mean) / scale.deviation))
    if not rows:
        return Predictions(labels_N[:0], labels_N[:0], np.empty(0, np.intp))
    positions = np.concatenate(rows)
    return Predictions(labels_N[positions], np.concatenate(predicted), positions)


def balanced_accuracy(truth_N: Labels, predicted_N: Labels) -> float:
    """Mean over the classes of `truth_N` of the share that was predicted right; NaN without samples."""
    return float(_balanced(*_counts_of_groups(truth_N, predicted_N, groups_N=np.zeros(len(truth_N))))[0])


def balanced_accuracy_interval(
    predictions: Predictions, *, groups_N: Labels, num_resamples: int, seed: int
) -> Estimate:
    """Balanced accuracy with an interval from resampling groups, the predictions held fixed.

    Args:
        predictions: out-of-fold predictions.
        groups_N: the unit to resample (a plate, a well, a gene) of each predicted sample, in their order.
        num_resamples: number of resamples.
        seed: seed of the resamples.
    """
    if not len(predictions.truth):
        return Estimate(np.nan, np.nan, np.nan)
    right_GK, total_GK = _counts_of_groups(predictions.truth, predictions.predicted, groups_N=groups_N)
    generator = np.random.default_rng(seed)
    counts_BG = resample_counts(len(right_GK), num_resamples=num_resamples, generator=generator)
    resampled = _balanced(counts_BG @ right_GK, counts_BG @ total_GK)
    value = float(_balanced(right_GK.sum(axis=0)[None], total_GK.sum(axis=0)[None])[0])
    return percentile_interval(value, resampled_B=resampled)


def _counts_of_groups(truth_N: Labels, predicted_N: Labels, *, groups_N: Labels) -> tuple[Array, Array]:
    classes, truth = np.unique(truth_N, return_inverse=True)
    names, group = np.unique(groups_N, return_inverse=True)
    right, total = np.zeros((len(names), len(classes))), np.zeros((len(names), len(classes)))
    np.add.at(total, (group, truth), 1.0)
    np.add.at(right, (group, truth), (truth_N == predicted_N).astype(float))
    return right, total


def _balanced(right_BK: Array, total_BK: Array) -> Array:
    """Balanced accuracy of each row; a class that a resample lacks is skipped."""
    recalls = np.divide(right_BK, total_BK, out=np.full_like(right_BK, np.nan), where=total_BK > 0)
    present = np.isfinite(recalls).sum(axis=1)
    means = np.full(len(recalls), np.nan)
    usable = present > 0
    means[usable] = np.nansum(recalls[usable], axis=1) / present[usable]
    return means
