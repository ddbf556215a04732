"""Average precision, ROC area and recall at a false positive rate; items of equal score share one threshold.

Many short rankings are scored in one call, and one long ranking in many weighted resamples. The definitions
are scikit-learn's `average_precision_score`, `roc_auc_score` and `np.interp` on `roc_curve`.
Shapes: R rankings, N items, B resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.intp]


@dataclass(frozen=True)
class RankingScores:
    """Scores of R rankings, NaN where a ranking has no positive or no negative.

    Attributes:
        average_precision: [R].
        roc_auc: [R].
    """

    average_precision: Array
    roc_auc: Array


def score_rankings(scores_RN: npt.NDArray[np.floating[Any]], *, is_positive_RN: Mask) -> RankingScores:
    """Score R rankings of up to N items each; an item whose score is NaN is not in its ranking."""
    scores_RN, is_positive_RN = np.broadcast_arrays(scores_RN, is_positive_RN)
    order = np.argsort(-scores_RN, axis=1, kind="stable")
    ranked = np.take_along_axis(scores_RN, order, axis=1)
    present = np.isfinite(ranked)
    positive = np.take_along_axis(is_positive_RN, order, axis=1) & present
    num_items = present.sum(axis=1)
    num_positive = positive.sum(axis=1)
    first, last = _tie_bounds(ranked)
    found = np.cumsum(positive, axis=1)
    precision = np.take_along_axis(found, last, axis=1) / (last + 1)
    mean_rank = (first + last) / 2 + 1
    with np.errstate(invalid="ignore", divide="ignore"):
        average = np.where(positive, precision, 0.0).sum(axis=1) / num_positive
        ranks = np.where(positive, mean_rank, 0.0).sum(axis=1) - num_positive * (num_positive + 1) / 2
        area = 1 - ranks / (num_positive * (num_items - num_positive))
    usable = (num_positive > 0) & (num_positive < num_items)
    return RankingScores(np.where(usable, average, np.nan), np.where(usable, area, np.nan))


@dataclass(frozen=True)
class LongRanking:
    """One ranking, sorted once, that can be scored with any weights of its items.

    Attributes:
        order: [N] positions of the items from the highest score.
        ends: [T] rank of the last item of each group of equal scores.
        is_positive: [N] in the order of the ranking.
    """

    order: Positions
    ends: Positions
    is_positive: Mask


@dataclass(frozen=True)
class CurveScores:
    """What a receiver operating characteristic and a precision-recall curve say; NaN without either class.

    Attributes:
        recalls: true positive rate at each asked false positive rate.
        roc_auc: area under the receiver operating characteristic.
        average_precision: mean precision at the positives.
    """

    recalls: Array
    roc_auc: float
    average_precision: float


def rank_items(scores_N: npt.NDArray[np.floating[Any]], *, is_positive_N: Mask) -> LongRanking:
    """Sort the items of one ranking; scores are finite."""
    order = np.argsort(-scores_N, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores_N[order]) != 0, True)) if len(order) else order
    return LongRanking(order, ends, is_positive_N[order])


def score_curve(
    ranking: LongRanking, *, false_positive_rates: tuple[float, ...], weights_N: Array | None = None
) -> CurveScores:
    """Score a ranking whose items count once, or as often as their weights say (in input order)."""
    weights = np.ones(len(ranking.order)) if weights_N is None else weights_N[ranking.order]
    positives = np.cumsum(np.where(ranking.is_positive, weights, 0.0))[ranking.ends]
    everything = np.cumsum(weights)[ranking.ends]
    negatives = everything - positives
    if not len(positives) or positives[-1] <= 0 or negatives[-1] <= 0:
        return CurveScores(np.full(len(false_positive_rates), np.nan), np.nan, np.nan)
    false_rate = np.concatenate([[0.0], negatives / negatives[-1]])
    true_rate = np.concatenate([[0.0], positives / positives[-1]])
    precision = np.divide(positives, everything, out=np.zeros_like(positives), where=everything > 0)
    return CurveScores(
        recalls=np.interp(np.asarray(false_positive_rates), false_rate, true_rate),
        roc_auc=float(np.trapezoid(true_rate, false_rate)),
        average_precision=float((np.diff(true_rate) * precision).sum()),
    )


def _tie_bounds(ranked_RN: npt.NDArray[np.floating[Any]]) -> tuple[Positions, Positions]:
    """First and last rank (0-based) of the group of equal scores that each item belongs to."""
    num_rows, num_items = ranked_RN.shape
    rank = np.broadcast_to(np.arange(num_items), (num_rows, num_items))
    changes = ranked_RN[:, 1:] != ranked_RN[:, :-1]
    edge = np.ones((num_rows, 1), np.bool_)
    starts = np.concatenate([edge, changes], axis=1)
    stops = np.concatenate([changes, edge], axis=1)
    first = np.maximum.accumulate(np.where(starts, rank, 0), axis=1)
    last = np.minimum.accumulate(np.where(stops, rank, num_items)[:, ::-1], axis=1)[:, ::-1]
    return first, last
