"""Center and center-scale: scikit-learn's scaler on each batch's controls, and documented fallbacks."""

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from phenoscale.errors import UserError
from phenoscale.mapping.steps.center import CenterScaleStep, CenterStep, fit_center
from tests.support.wells import in_two_screens, make_wells, shifted_by, without_controls


def _controls(table):
    return table.frame["is_negative_control"].to_numpy(dtype=bool)


def _plate(table, experiment, plate):
    return ((table.frame["experiment"] == experiment) & (table.frame["plate"] == plate)).to_numpy(dtype=bool)


def _apply(table, step):
    return fit_center(table.embeddings, table.frame, step=step).transform(table.embeddings, table.frame)


@pytest.mark.parametrize("statistics", ["negative_controls", "all"])
def test_each_plate_is_scaled_as_by_the_standard_scaler_of_its_wells(statistics):
    table = shifted_by(make_wells(), ["experiment", "plate"], length=10)
    mapped = _apply(table, CenterScaleStep(batch_key="plate", statistics=statistics))
    for experiment in ("e1", "e2"):
        for plate in ("p1", "p2"):
            rows = _plate(table, experiment, plate)
            fitted = rows & _controls(table) if statistics == "negative_controls" else rows
            scaler = StandardScaler().fit(table.embeddings[fitted])
            assert np.allclose(mapped[rows], scaler.transform(table.embeddings[rows]))


def test_centering_moves_the_controls_of_each_batch_to_the_origin_and_keeps_differences():
    table = shifted_by(make_wells(), ["experiment"], length=10)
    mapped = _apply(table, CenterStep(batch_key="experiment"))
    in_first = (table.frame["experiment"] == "e1").to_numpy(dtype=bool)
    assert np.allclose(mapped[in_first & _controls(table)].mean(axis=0), 0, atol=1e-12)
    kept = table.embeddings[in_first] - table.embeddings[in_first][0]
    assert np.allclose(mapped[in_first] - mapped[in_first][0], kept)


def test_the_pooled_scale_is_the_deviation_within_plates():
    table = shifted_by(make_wells(), ["experiment", "plate"], length=10)
    fitted = fit_center(
        table.embeddings, table.frame, step=CenterScaleStep(batch_key="plate", scale="pooled")
    )
    residuals = [
        table.embeddings[rows] - table.embeddings[rows].mean(axis=0)
        for experiment in ("e1", "e2")
        for plate in ("p1", "p2")
        for rows in [_plate(table, experiment, plate) & _controls(table)]
    ]
    assert np.allclose(fitted.scales, np.concatenate(residuals).std(axis=0))


def test_a_plate_without_negative_controls_is_refused_by_name():
    table = without_controls(make_wells(), experiment="e2", plate="p1", keep=1)
    for step in (CenterStep(batch_key="plate"), CenterScaleStep(batch_key="plate")):
        with pytest.raises(UserError, match=r"fewer: test/e2/p1 \(1\); set fallback: pooled"):
            fit_center(table.embeddings, table.frame, step=step)


def test_a_plate_without_controls_falls_back_to_its_experiment_and_that_to_everything():
    table = shifted_by(make_wells(), ["experiment"], length=10)
    one = without_controls(table, experiment="e2", plate="p1")
    fitted = fit_center(one.embeddings, one.frame, step=CenterStep(batch_key="plate", fallback="pooled"))
    of_experiment = _controls(one) & (one.frame["experiment"] == "e2").to_numpy(dtype=bool)
    assert fitted.fallbacks == {"test/e2/p1": "experiment test/e2"}
    assert np.allclose(
        fitted.means[fitted.batches.index("test/e2/p1")], one.embeddings[of_experiment].mean(axis=0)
    )
    both = without_controls(one, experiment="e2", plate="p2")
    fitted = fit_center(both.embeddings, both.frame, step=CenterStep(batch_key="plate", fallback="pooled"))
    assert fitted.fallbacks == {"test/e2/p1": "all batches", "test/e2/p2": "all batches"}
    assert np.allclose(
        fitted.means[fitted.batches.index("test/e2/p2")], both.embeddings[_controls(both)].mean(axis=0)
    )


def test_a_constant_dimension_stays_finite():
    table = make_wells()
    vectors = table.embeddings.copy()
    vectors[:, 2] = 7.0
    mapped = _apply(table.with_embeddings(vectors), CenterScaleStep(batch_key="plate"))
    assert np.array_equal(mapped[:, 2], np.zeros(len(table)))


def test_the_type_of_the_vectors_is_kept():
    table = make_wells()
    narrow = table.with_embeddings(table.embeddings.astype(np.float32))
    assert _apply(narrow, CenterScaleStep()).dtype == np.float32
    assert np.allclose(_apply(narrow, CenterScaleStep()), _apply(table, CenterScaleStep()), atol=1e-5)


def test_new_wells_use_the_fitted_statistics_and_an_unknown_plate_is_refused():
    table = make_wells(seed=0)
    fitted = fit_center(table.embeddings, table.frame, step=CenterStep(batch_key="plate"))
    other = make_wells(seed=1)
    rows = _plate(other, "e1", "p1")
    mean = fitted.means[fitted.batches.index("test/e1/p1")]
    assert np.allclose(fitted.transform(other.embeddings, other.frame)[rows], other.embeddings[rows] - mean)
    with pytest.raises(UserError, match="not fitted on the batches"):
        fitted.transform(other.embeddings, other.frame.assign(experiment="e9"))


@pytest.mark.parametrize("batch_key", ["experiment", "plate"])
def test_plates_of_equal_names_in_two_screens_are_corrected_apart(batch_key):
    table = shifted_by(in_two_screens(make_wells()), ["screen"], length=50)
    fitted = fit_center(table.embeddings, table.frame, step=CenterStep(batch_key=batch_key))
    mapped = fitted.transform(table.embeddings, table.frame)
    assert len(fitted.batches) == 2 * {"experiment": 2, "plate": 4}[batch_key]
    for name in ("one", "two"):
        own = _controls(table) & (table.frame["screen"] == name).to_numpy(dtype=bool)
        assert np.allclose(mapped[own].mean(axis=0), 0)
