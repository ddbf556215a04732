"""Elastic nets of many targets against scikit-learn's ElasticNetCV, one target at a time."""

import numpy as np
import pytest
from sklearn.linear_model import ElasticNetCV
from sklearn.model_selection import KFold

from phenoscale.stats.elastic_net import ElasticNetSettings, contiguous_folds, fit_elastic_net_cv

RATIOS = (0.1, 0.6, 0.9, 0.95, 0.99)


def _problem(seed, *, num_samples=97, dimensions=12, num_targets=4, noise=1.0):
    generator = np.random.default_rng(seed)
    mixing = np.eye(dimensions) + 0.3 * generator.standard_normal((dimensions, dimensions)) / dimensions**0.5
    samples = generator.standard_normal((num_samples, dimensions)) @ mixing + generator.normal(
        size=dimensions
    )
    weights = generator.standard_normal((dimensions, num_targets))
    weights *= generator.random(weights.shape) < np.linspace(0.05, 1.0, num_targets)
    weights[0] = 1.0  # no target without any signal
    targets = samples @ weights + 5.0
    targets += noise * targets.std(axis=0) * generator.standard_normal(targets.shape)
    return samples, targets


@pytest.mark.parametrize("seed", range(3))
def test_every_target_gets_the_strengths_and_weights_of_scikit_learn(seed):
    samples, targets = _problem(seed)
    settings = ElasticNetSettings(num_alphas=12, tolerance=1e-9, max_sweeps=100_000)
    found = fit_elastic_net_cv(samples, targets, settings=settings)
    assert found.is_converged.all()
    for target in range(targets.shape[1]):
        model = ElasticNetCV(l1_ratio=list(RATIOS), cv=5, alphas=12, tol=1e-9, max_iter=100_000)
        model.fit(samples, targets[:, target])
        assert np.isclose(found.alphas[target], model.alpha_, rtol=1e-10)
        assert found.l1_ratios[target] == model.l1_ratio_
        assert np.allclose(found.errors[:, :, target], model.mse_path_.mean(axis=2), rtol=1e-6)
        assert np.allclose(found.coefficients[:, target], model.coef_, atol=1e-5 * np.abs(model.coef_).max())
        assert np.isclose(found.intercepts[target], model.intercept_, rtol=1e-5, atol=1e-5)
        assert np.allclose(found.predict(samples)[:, target], model.predict(samples), atol=1e-4)


def test_the_published_tolerance_gives_predictions_as_good_as_scikit_learns():
    samples, targets = _problem(5, num_samples=120, dimensions=20, num_targets=2)
    found = fit_elastic_net_cv(samples, targets, settings=ElasticNetSettings(num_alphas=20))
    for target in range(2):
        model = ElasticNetCV(l1_ratio=list(RATIOS), cv=5, alphas=20).fit(samples, targets[:, target])
        ours, theirs = (
            1 - ((predicted - targets[:, target]) ** 2).mean() / targets[:, target].var()
            for predicted in (found.predict(samples)[:, target], model.predict(samples))
        )
        assert abs(ours - theirs) < 0.002


def test_no_direction_lowers_the_objective():
    """The optimality conditions, for more dimensions than samples and several blocks of coordinates."""
    samples, targets = _problem(1, num_samples=50, dimensions=70, num_targets=2)
    settings = ElasticNetSettings(num_alphas=3, tolerance=1e-8, max_sweeps=20_000, smallest_alpha=0.2)
    found = fit_elastic_net_cv(samples, targets, settings=settings)
    residual = targets - found.predict(samples)
    assert np.allclose(residual.mean(axis=0), 0, atol=1e-9)
    for target in range(2):
        alpha, ratio = found.alphas[target], found.l1_ratios[target]
        weights = found.coefficients[:, target]
        pull = (samples - samples.mean(axis=0)).T @ residual[:, target] / len(samples)
        pull -= alpha * (1 - ratio) * weights
        scale = alpha * ratio
        assert np.allclose(pull[weights != 0], scale * np.sign(weights[weights != 0]), atol=0.01 * scale)
        assert (np.abs(pull[weights == 0]) <= scale * 1.01).all()


def test_results_depend_neither_on_threads_nor_on_the_company_of_a_target():
    samples, targets = _problem(2, num_targets=300, dimensions=5)
    settings = ElasticNetSettings(num_alphas=3)
    first, second = (
        fit_elastic_net_cv(samples, targets, settings=settings, num_threads=threads) for threads in (1, 3)
    )
    assert (first.coefficients == second.coefficients).all()
    alone = fit_elastic_net_cv(samples, targets[:, 200:201], settings=settings)
    assert np.allclose(alone.coefficients[:, 0], first.coefficients[:, 200], rtol=1e-9, atol=1e-12)


def test_every_target_is_counted_once_per_fold_and_once_for_the_final_fit():
    samples, targets = _problem(3, num_targets=150, dimensions=4)
    seen = []
    settings = ElasticNetSettings(num_alphas=3, num_folds=4)
    fit_elastic_net_cv(samples, targets, settings=settings, observe=seen.append)
    assert sum(seen) == 150 * 5


def test_too_few_sweeps_are_said():
    samples, targets = _problem(4)
    settings = ElasticNetSettings(num_alphas=10, max_sweeps=1, tolerance=1e-12)
    assert not fit_elastic_net_cv(samples, targets, settings=settings).is_converged.any()


def test_a_constant_dimension_gets_no_weight():
    samples, targets = _problem(6)
    samples[:, 3] = 7.0
    found = fit_elastic_net_cv(samples, targets, settings=ElasticNetSettings(num_alphas=5))
    assert (found.coefficients[3] == 0).all() and np.isfinite(found.coefficients).all()


@pytest.mark.parametrize("num_samples", [10, 13, 157])
def test_folds_are_those_of_scikit_learn(num_samples):
    expected = [test.tolist() for _, test in KFold(5).split(np.zeros(num_samples))]
    rows = np.arange(num_samples)
    assert [rows[fold].tolist() for fold in contiguous_folds(num_samples, num_folds=5)] == expected
