"""PCA: scikit-learn's components on the chosen wells, up to their sign."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from phenoscale.errors import UserError
from phenoscale.mapping.steps.pca import PcaStep, fit_pca
from tests.support.wells import make_wells


def _mixed(dimensions=8, **sizes):
    table = make_wells(dimensions=dimensions, **sizes)
    mixing = np.random.default_rng(5).standard_normal((dimensions, dimensions)) * np.arange(1, dimensions + 1)
    return table.with_embeddings(table.embeddings @ mixing + 3)


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("statistics", ["negative_controls", "all"])
def test_components_are_those_of_scikit_learn(whiten, statistics):
    table = _mixed()
    rows = table.frame["is_negative_control"].to_numpy(dtype=bool)
    fitted_on = table.embeddings[rows] if statistics == "negative_controls" else table.embeddings
    step = PcaStep(num_components=4, statistics=statistics, whiten=whiten)
    mapped = fit_pca(table.embeddings, table.frame, step=step).transform(table.embeddings, table.frame)
    reference = PCA(4, svd_solver="full").fit(fitted_on)
    expected = reference.transform(table.embeddings)
    if whiten:
        expected = expected / np.sqrt(reference.explained_variance_ * (len(fitted_on) - 1) / len(fitted_on))
    assert np.allclose(np.abs(mapped), np.abs(expected), atol=1e-8)


def test_a_full_rotation_keeps_distances():
    table = _mixed()
    mapped = fit_pca(table.embeddings, table.frame, step=PcaStep()).transform(table.embeddings, table.frame)
    assert mapped.shape == table.embeddings.shape
    assert np.allclose(
        np.linalg.norm(mapped[1:] - mapped[:-1], axis=1),
        np.linalg.norm(table.embeddings[1:] - table.embeddings[:-1], axis=1),
    )


def test_few_controls_span_few_components_and_more_are_refused():
    table = _mixed(num_experiments=1, num_plates=1, num_controls=4)
    assert fit_pca(table.embeddings, table.frame, step=PcaStep()).projection.shape == (8, 3)
    with pytest.raises(UserError, match="asked for 5 components, but 4 wells of 8 dimensions span only 3"):
        fit_pca(table.embeddings, table.frame, step=PcaStep(num_components=5))


def test_whitening_does_not_blow_up_a_dimension_without_variance():
    table = _mixed()
    vectors = table.embeddings.copy()
    vectors[:, 0] = vectors[:, 1]
    fitted = fit_pca(vectors, table.frame, step=PcaStep(whiten=True))
    assert fitted.projection.shape == (8, 7)
    assert np.abs(fitted.transform(vectors, table.frame)).max() < 100


def test_embedding_shorter_than_the_components_asked_for_keeps_all_that_it_spans():
    table = _mixed()
    vectors = table.embeddings.copy()
    vectors[:, 7] = vectors[:, 0] + vectors[:, 1]
    fitted = fit_pca(vectors, table.frame, step=PcaStep(num_components=64, statistics="all"))
    assert fitted.projection.shape == (8, 7)
