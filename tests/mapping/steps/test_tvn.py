"""TVN: equal to the reference formulation with scipy's fractional matrix power."""

import numpy as np
import pytest
from scipy.linalg import fractional_matrix_power
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from phenoscale.errors import UserError
from phenoscale.mapping.steps.tvn import TvnStep, fit_tvn
from tests.support.wells import make_wells, shifted_by, without_controls


def _screen(dimensions=12, num_controls=30, **sizes):
    """Anisotropic wells with shifted and rescaled batches; 2 x 2 plates."""
    table = make_wells(dimensions=dimensions, num_controls=num_controls, **sizes)
    generator = np.random.default_rng(9)
    mixing = generator.standard_normal((dimensions, dimensions))
    table = table.with_embeddings(table.embeddings @ mixing)
    scale = np.where((table.frame["experiment"] == "e1").to_numpy(dtype=bool), 1.0, 1.7)[:, None]
    return shifted_by(table.with_embeddings(table.embeddings * scale + 5), ["experiment", "plate"], length=1)


def _reference(table, batches):
    """Section 6.3 of the specification, step by step, with scikit-learn and scipy."""
    controls = table.frame["is_negative_control"].to_numpy(dtype=bool)
    values = table.embeddings.copy()
    values = StandardScaler().fit(values[controls]).transform(values)
    values = PCA(min(controls.sum(), values.shape[1])).fit(values[controls]).transform(values)
    values = StandardScaler().fit(values[controls]).transform(values)
    for batch in np.unique(batches):
        rows = batches == batch
        covariance = np.cov(values[rows & controls], rowvar=False, ddof=1) + 0.5 * np.eye(values.shape[1])
        values[rows] = values[rows] @ fractional_matrix_power(covariance, -0.5)
    return values


def _cosines(values):
    units = values / np.linalg.norm(values, axis=1, keepdims=True)
    return units @ units.T


@pytest.mark.parametrize("batch_key", ["experiment", "plate"])
def test_mapped_cosines_are_those_of_the_reference_formulation(batch_key):
    table = _screen()
    frame = table.frame
    batches = frame["experiment"] if batch_key == "experiment" else frame["experiment"] + "/" + frame["plate"]
    mapped = fit_tvn(table.embeddings, frame, step=TvnStep(batch_key=batch_key)).transform(
        table.embeddings, frame
    )
    expected = _reference(table, batches.to_numpy(dtype=str))
    assert np.abs(_cosines(mapped) - _cosines(expected)).max() < 1e-6


def test_all_controls_together_become_isotropic():
    table = _screen()
    fitted = fit_tvn(table.embeddings, table.frame, step=TvnStep(batch_key="none"))
    mapped = fitted.transform(table.embeddings, table.frame)
    controls = mapped[table.frame["is_negative_control"].to_numpy(dtype=bool)]
    covariance = np.cov(controls, rowvar=False, ddof=0)
    assert np.allclose(covariance, covariance[0, 0] * np.eye(12), atol=1e-2 * covariance[0, 0])
    assert np.allclose(controls.mean(axis=0), 0, atol=1e-10)


def test_recentering_removes_the_batch_means_that_plain_tvn_leaves():
    table = _screen()
    controls = table.frame["is_negative_control"].to_numpy(dtype=bool)
    first = controls & (table.frame["experiment"] == "e1").to_numpy(dtype=bool)
    means = [
        np.linalg.norm(
            fit_tvn(table.embeddings, table.frame, step=TvnStep(recenter_per_batch=recenter))
            .transform(table.embeddings, table.frame)[first]
            .mean(axis=0)
        )
        for recenter in (False, True)
    ]
    assert means[0] > 0.1
    assert means[1] < 1e-10


def test_fewer_controls_than_dimensions_are_refused_with_the_way_out():
    table = _screen(dimensions=12, num_controls=2)
    with pytest.raises(
        UserError,
        match="more controls than dimensions, got 8 negative controls for 12 dimensions; reduce with PCA",
    ):
        fit_tvn(table.embeddings, table.frame, step=TvnStep())
    fitted = fit_tvn(table.embeddings, table.frame, step=TvnStep(num_components=4))
    assert fitted.transform(table.embeddings, table.frame).shape == (len(table), 4)


def test_a_dimension_without_variance_is_dropped_and_not_amplified():
    table = _screen()
    vectors = table.embeddings.copy()
    vectors[:, 3] = vectors[:, 4] + 1e-9 * np.random.default_rng(0).standard_normal(len(vectors))
    mapped = fit_tvn(vectors, table.frame, step=TvnStep()).transform(vectors, table.frame)
    assert mapped.shape[1] == 11
    assert np.abs(mapped).max() < 50
    with pytest.raises(UserError, match="span only 11"):
        fit_tvn(vectors, table.frame, step=TvnStep(num_components=12))


def test_a_plate_without_controls_is_refused_or_shrunk_like_the_others():
    table = without_controls(_screen(), experiment="e1", plate="p2", keep=1)
    with pytest.raises(UserError, match=r"e1/p2 \(1\)"):
        fit_tvn(table.embeddings, table.frame, step=TvnStep(batch_key="plate"))
    fitted = fit_tvn(table.embeddings, table.frame, step=TvnStep(batch_key="plate", fallback="pooled"))
    assert fitted.fallbacks == {"test/e1/p2": "all batches"}
    assert np.allclose(fitted.rotations[fitted.batches.index("test/e1/p2")], np.eye(12) / np.sqrt(1.5))
