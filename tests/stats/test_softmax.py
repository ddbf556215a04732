"""The batched probes equal scikit-learn's LogisticRegression on standardized features, fold by fold."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler

from phenoscale.stats.softmax import balanced_weights, fit_softmax, predict_out_of_fold

STRENGTHS = (1.0, 0.01)


def reference_probabilities(features, labels, *, is_train, c):
    scaler = StandardScaler().fit(features[is_train])
    model = LogisticRegression(C=c, class_weight="balanced", tol=1e-9, max_iter=20_000)
    model.fit(scaler.transform(features[is_train]), labels[is_train])
    return model.predict_proba(scaler.transform(features)), model.classes_


def softmax(logits):
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def planted(seed, *, num_rows=400, num_features=20, num_classes=5, strength=1.0):
    generator = np.random.default_rng(seed)
    odds = generator.dirichlet(np.full(num_classes, 2.0))
    labels = generator.choice(num_classes, size=num_rows, p=odds)
    labels[:num_classes] = np.arange(num_classes)
    centers = generator.normal(size=(num_classes, num_features))
    features = strength * centers[labels] + generator.normal(size=(num_rows, num_features))
    folds = generator.integers(0, 3, size=num_rows)
    return features, labels, folds


def ill_conditioned(seed):
    generator = np.random.default_rng(seed)
    features, labels, folds = planted(seed, num_rows=300, num_features=16)
    nearly_copied = features[:, :4] + 1e-5 * generator.normal(size=(300, 4))
    mixed = features @ generator.normal(size=(16, 8))
    scales = 10.0 ** generator.uniform(-5, 5, size=28)
    shifts = generator.normal(size=28) * scales * 100
    return np.hstack([features, nearly_copied, mixed]) * scales + shifts, labels, folds


def more_features_than_rows(seed):
    return planted(seed, num_rows=90, num_features=200, num_classes=4, strength=0.2)


def separable(seed):
    return planted(seed, num_rows=200, num_features=12, num_classes=3, strength=6.0)


CASES = [planted, ill_conditioned, more_features_than_rows, separable]


@pytest.mark.parametrize("make", CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_probabilities_equal_scikit_learns_within_one_thousandth(make, seed):
    features, labels, folds = make(seed)
    is_train = np.arange(3)[:, None] != folds
    fit = fit_softmax(
        features,
        labels_N=labels,
        is_train_FN=is_train,
        inverse_regularization=STRENGTHS,
        num_classes=labels.max() + 1,
    )
    assert fit.converged.all()
    for fold in range(3):
        for strength, c in enumerate(STRENGTHS):
            expected, classes = reference_probabilities(features, labels, is_train=is_train[fold], c=c)
            found = softmax(fit.logits(features, fold=fold, strength=strength))
            np.testing.assert_allclose(found[:, classes], expected, atol=1e-3)
            best_two = np.sort(expected, axis=1)[:, -2:]
            is_clear = best_two[:, 1] - best_two[:, 0] > 2e-3
            np.testing.assert_array_equal(
                found.argmax(axis=1)[is_clear], classes[expected.argmax(axis=1)][is_clear]
            )


def test_two_classes_equal_scikit_learns_logistic_regression():
    features, labels, folds = planted(3, num_classes=2, strength=0.4)
    is_train = np.arange(3)[:, None] != folds
    fit = fit_softmax(
        features, labels_N=labels, is_train_FN=is_train, inverse_regularization=(0.1,), num_classes=2
    )
    for fold in range(3):
        expected, _ = reference_probabilities(features, labels, is_train=is_train[fold], c=0.1)
        found = softmax(fit.logits(features, fold=fold, strength=0))
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_tolerance_beyond_float32_is_met_in_float64():
    features, labels, folds = planted(9)
    fit = fit_softmax(
        features,
        labels_N=labels,
        is_train_FN=(folds != 0)[None],
        inverse_regularization=(1.0,),
        num_classes=5,
        tolerance=1e-15,
    )
    expected, _ = reference_probabilities(features, labels, is_train=folds != 0, c=1.0)
    assert fit.converged.all()
    np.testing.assert_allclose(softmax(fit.logits(features, fold=0, strength=0)), expected, atol=2e-6)


def test_a_class_absent_from_a_fold_gets_no_probability_there_and_leaves_the_others_alone():
    features, labels, folds = planted(4, num_classes=4)
    folds[labels == 2] = 1
    is_train = np.arange(3)[:, None] != folds
    fit = fit_softmax(
        features, labels_N=labels, is_train_FN=is_train, inverse_regularization=(1.0,), num_classes=4
    )
    found = softmax(fit.logits(features, fold=1, strength=0))
    expected, classes = reference_probabilities(features, labels, is_train=is_train[1], c=1.0)
    assert classes.tolist() == [0, 1, 3]
    assert (found[:, 2] == 0).all()
    np.testing.assert_allclose(found[:, classes], expected, atol=1e-3)


def test_a_constant_column_changes_nothing_even_where_it_varies_out_of_fold():
    features, labels, folds = planted(5)
    column = np.where(folds == 0, np.arange(len(folds)), 7.0)
    with_column = np.hstack([features, column[:, None]])
    arguments = dict(
        labels_N=labels, is_train_FN=(folds != 0)[None], inverse_regularization=(1.0,), num_classes=5
    )
    plain = fit_softmax(features, **arguments).logits(features, fold=0, strength=0)
    padded = fit_softmax(with_column, **arguments).logits(with_column, fold=0, strength=0)
    np.testing.assert_allclose(softmax(padded), softmax(plain), atol=1e-4)


def test_folds_taken_one_at_a_time_give_what_folds_taken_together_give():
    features, labels, folds = planted(6)
    arguments = dict(
        labels_N=labels,
        is_train_FN=np.arange(3)[:, None] != folds,
        inverse_regularization=STRENGTHS,
        num_classes=5,
    )
    together = fit_softmax(features, **arguments)
    apart = fit_softmax(features, working_bytes=1, **arguments)
    for fold in range(3):
        np.testing.assert_allclose(
            softmax(apart.logits(features, fold=fold, strength=0)),
            softmax(together.logits(features, fold=fold, strength=0)),
            atol=1e-4,
        )


def test_balanced_weights_give_every_present_class_the_same_total():
    labels = np.array([0, 0, 0, 0, 0, 0, 2, 2, 3])
    weights = balanced_weights(labels, 5)
    totals = np.bincount(labels, weights=weights, minlength=5)
    np.testing.assert_allclose(totals, [3.0, 0.0, 3.0, 3.0, 0.0])


def test_out_of_fold_predictions_equal_a_loop_over_blocks_folds_and_strengths():
    blocks = [planted(seed)[0] for seed in (7, 7)]
    _, labels, folds = planted(7)
    blocks[1] = blocks[1] @ np.random.default_rng(0).normal(size=(20, 6))
    out = predict_out_of_fold(
        blocks, labels_N=labels, folds_N=folds, inverse_regularization=STRENGTHS, num_classes=5
    )
    for block, features in enumerate(blocks):
        for strength, c in enumerate(STRENGTHS):
            expected = np.empty_like(labels)
            for fold in range(3):
                is_train = folds != fold
                probabilities, classes = reference_probabilities(features, labels, is_train=is_train, c=c)
                expected[~is_train] = classes[probabilities.argmax(axis=1)][~is_train]
            agreement = (out.predictions[block, strength] == expected).mean()
            assert agreement >= 0.995


def test_labels_drawn_without_looking_at_the_features_are_predicted_at_chance():
    generator = np.random.default_rng(8)
    labels = generator.integers(0, 4, size=800)
    folds = generator.integers(0, 5, size=800)
    out = predict_out_of_fold(
        [generator.normal(size=(800, 10))],
        labels_N=labels,
        folds_N=folds,
        inverse_regularization=(0.01,),
        num_classes=4,
    )
    assert abs(balanced_accuracy_score(labels, out.predictions[0, 0]) - 0.25) < 0.06
