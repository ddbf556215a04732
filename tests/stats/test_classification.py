"""Reading a label from vectors: balanced accuracy as scikit-learn has it, chance on noise, one on signal."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from phenoscale.stats.classification import (
    balanced_accuracy,
    balanced_accuracy_interval,
    cross_validate,
    stratified_folds,
)
from tests.support.bbbc021 import crop_statistics


def _blobs(separation, *, seed=0, classes=3, per_class=60, dimensions=5):
    generator = np.random.default_rng(seed)
    labels = np.repeat([f"c{index}" for index in range(classes)], per_class)
    centers = separation * generator.standard_normal((classes, dimensions))
    return np.repeat(centers, per_class, axis=0) + generator.standard_normal(
        (len(labels), dimensions)
    ), labels


def test_balanced_accuracy_is_that_of_scikit_learn():
    generator = np.random.default_rng(0)
    truth = generator.choice(["a", "b", "c"], 200, p=[0.7, 0.2, 0.1])
    predicted = np.where(generator.random(200) < 0.6, truth, generator.choice(["a", "b", "c"], 200))
    assert np.isclose(balanced_accuracy(truth, predicted), balanced_accuracy_score(truth, predicted))


@pytest.mark.parametrize(("separation", "low", "high"), [(5.0, 0.99, 1.0), (0.0, 0.2, 0.46)])
def test_signal_is_read_and_noise_is_chance(separation, low, high):
    samples, labels = _blobs(separation)
    folds = stratified_folds(labels, groups_N=None, num_folds=5, seed=0)
    found = cross_validate(samples, labels, folds=folds, inverse_regularization=0.1)
    assert sorted(found.rows) == list(range(len(labels)))
    assert low <= balanced_accuracy(found.truth, found.predicted) <= high


def test_groups_are_never_split_between_training_and_test():
    labels = np.tile(["a", "b"], 60)
    groups = np.repeat(np.arange(20), 6)
    for train, test in stratified_folds(labels, groups_N=groups, num_folds=4, seed=0):
        assert not set(groups[train]) & set(groups[test])


def test_the_interval_holds_the_value_and_widens_with_fewer_groups():
    samples, labels = _blobs(0.5, per_class=100)
    folds = stratified_folds(labels, groups_N=None, num_folds=5, seed=0)
    found = cross_validate(samples, labels, folds=folds, inverse_regularization=0.1)
    widths = []
    for num_groups in (300, 6):
        groups = (found.rows % num_groups).astype(str)
        estimate = balanced_accuracy_interval(found, groups_N=groups, num_resamples=300, seed=0)
        assert estimate.low <= estimate.value <= estimate.high
        assert np.isclose(estimate.value, balanced_accuracy(found.truth, found.predicted))
        widths.append(estimate.high - estimate.low)
    assert min(widths) > 0


def test_a_fold_without_a_second_class_is_left_out():
    samples, labels = _blobs(1.0, classes=2, per_class=10)
    found = cross_validate(
        samples, labels, folds=[(np.arange(10), np.arange(10, 20))], inverse_regularization=1.0
    )
    assert len(found.truth) == 0
    assert np.isnan(balanced_accuracy_interval(found, groups_N=found.rows, num_resamples=5, seed=0).value)


def test_the_week_is_read_from_real_crops_as_well_as_measured(real_data):
    # BASELINES.md (b) 3: week from taxol crops alone, folds grouped by plate, raw pixel statistics: 0.359.
    table = crop_statistics(
        real_data("bbbc021_singlecell_crops"), query="perturbation == 'taxol' and concentration_um == 0.3"
    )
    weeks, plates = (table.frame[name].to_numpy(dtype=str) for name in ("experiment", "plate"))
    folds = stratified_folds(weeks, groups_N=plates, num_folds=5, seed=0)
    found = cross_validate(table.embeddings, weeks, folds=folds, inverse_regularization=1.0)
    assert len(found.truth) == 499
    assert balanced_accuracy(found.truth, found.predicted) == pytest.approx(0.359, abs=0.02)
