"""Rankings against scikit-learn, ties and absent items included, and the closed form of a random order."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from phenoscale.stats.precision_recall import (
    rank_items,
    score_curve,
    score_rankings,
)
from tests.support.rankings import expected_average_precision


def _rankings(seed, *, decimals):
    generator = np.random.default_rng(seed)
    scores = np.round(generator.standard_normal((40, 30)), decimals)
    positive = generator.random((40, 30)) < 0.3
    positive[:, 0], positive[:, 1] = True, False
    return scores, positive


@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_average_precision_and_area_equal_scikit_learn_with_and_without_ties(decimals):
    scores, positive = _rankings(0, decimals=decimals)
    found = score_rankings(scores, is_positive_RN=positive)
    for row in range(len(scores)):
        assert np.isclose(
            found.average_precision[row], average_precision_score(positive[row], scores[row]), atol=1e-12
        )
        assert np.isclose(found.roc_auc[row], roc_auc_score(positive[row], scores[row]), atol=1e-12)


def test_an_item_without_score_is_not_in_its_ranking():
    scores, positive = _rankings(1, decimals=1)
    absent = np.random.default_rng(2).random(scores.shape) < 0.3
    absent[:, :2] = False
    found = score_rankings(np.where(absent, np.nan, scores), is_positive_RN=positive)
    for row in range(len(scores)):
        kept = ~absent[row]
        expected = average_precision_score(positive[row, kept], scores[row, kept])
        assert np.isclose(found.average_precision[row], expected, atol=1e-12)


def test_a_ranking_without_one_of_the_classes_has_no_value():
    found = score_rankings(np.arange(6.0).reshape(2, 3), is_positive_RN=np.array([[True] * 3, [False] * 3]))
    assert np.isnan(found.average_precision).all() and np.isnan(found.roc_auc).all()


@pytest.mark.parametrize(
    ("num_positive", "num_items", "published"),
    [(1, 21, 0.181), (2, 22, 0.203), (5, 25, 0.292), (10, 30, 0.406), (20, 60, 0.375)],
)
def test_a_random_order_has_the_expected_average_precision(num_positive, num_items, published):
    expected = expected_average_precision(num_positive, num_items)
    assert abs(expected - published) < 0.008
    scores = np.random.default_rng(0).random((20_000, num_items))
    positive = np.arange(num_items) < num_positive
    drawn = score_rankings(scores, is_positive_RN=positive[None]).average_precision
    assert abs(drawn.mean() - expected) < 4 * drawn.std() / np.sqrt(len(drawn))


@pytest.mark.parametrize("decimals", [1, 8])
def test_a_long_ranking_equals_scikit_learns_curves(decimals):
    generator = np.random.default_rng(3)
    positive = generator.random(5000) < 0.1
    scores = np.round(generator.standard_normal(5000) + positive, decimals)
    found = score_curve(
        rank_items(scores, is_positive_N=positive), false_positive_rates=(0.05, 0.1, 0.0, 1.0)
    )
    false_rate, true_rate, _ = roc_curve(positive, scores)
    assert np.allclose(found.recalls, np.interp([0.05, 0.1, 0.0, 1.0], false_rate, true_rate), atol=1e-12)
    assert np.isclose(found.roc_auc, roc_auc_score(positive, scores), atol=1e-12)
    assert np.isclose(found.average_precision, average_precision_score(positive, scores), atol=1e-12)


def test_a_weight_counts_an_item_as_often_as_repeating_it():
    generator = np.random.default_rng(4)
    scores, positive = np.round(generator.standard_normal(400), 1), generator.random(400) < 0.3
    weights = generator.integers(0, 4, 400)
    ranking = rank_items(scores, is_positive_N=positive)
    weighted = score_curve(ranking, false_positive_rates=(0.05,), weights_N=weights.astype(float))
    repeated_scores, repeated_positive = np.repeat(scores, weights), np.repeat(positive, weights)
    repeated = score_curve(
        rank_items(repeated_scores, is_positive_N=repeated_positive), false_positive_rates=(0.05,)
    )
    assert np.isclose(weighted.recalls[0], repeated.recalls[0], atol=1e-12)
    assert np.isclose(weighted.roc_auc, repeated.roc_auc, atol=1e-12)
    assert np.isclose(weighted.average_precision, repeated.average_precision, atol=1e-12)


def test_a_curve_without_one_of_the_classes_has_no_value():
    found = score_curve(
        rank_items(np.arange(3.0), is_positive_N=np.ones(3, bool)), false_positive_rates=(0.05,)
    )
    assert np.isnan(found.recalls).all() and np.isnan(found.roc_auc)
