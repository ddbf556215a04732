"""Elastic nets of many features at once against scikit-learn's ElasticNetCV, one feature at a time.

scikit-learn takes minutes per feature at full size, so it fits some of the features, evenly spread, and its
time is scaled to all of them; `equal` compares R2 of these features on test samples.
Shapes: N samples, D dimensions, T features.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNetCV

from phenoscale.stats.elastic_net import ElasticNetSettings, fit_elastic_net_cv
from phenoscale.stats.threads import num_blas_threads

Array = npt.NDArray[np.float64]
TOLERANCE = 0.002


def run(
    *,
    num_samples: int = 2000,
    dimensions: int = 96,
    num_features: int = 128,
    num_reference: int = 3,
    num_alphas: int = 50,
) -> list[dict[str, Any]]:
    """One row: processor seconds of all features by both."""
    samples, targets = _planted(2 * num_samples, dimensions=dimensions, num_features=num_features)
    train, test = slice(0, num_samples), slice(num_samples, None)
    settings = ElasticNetSettings(num_alphas=num_alphas)
    started, cpu = time.perf_counter(), time.process_time()
    fit = fit_elastic_net_cv(
        samples[train], targets[train], settings=settings, num_threads=num_blas_threads()
    )
    ours, ours_cpu = time.perf_counter() - started, time.process_time() - cpu
    chosen = np.linspace(0, num_features - 1, num_reference).round().astype(int)
    r2 = _r2(targets[test][:, chosen], fit.predict(samples[test])[:, chosen])
    started, cpu = time.perf_counter(), time.process_time()
    references = [_reference(samples[train], targets[train, t], settings=settings) for t in chosen]
    reference, reference_cpu = time.perf_counter() - started, time.process_time() - cpu
    expected = _r2(
        targets[test][:, chosen], np.stack([model.predict(samples[test]) for model in references], axis=1)
    )
    largest = float(np.abs(r2 - expected).max())
    assert largest < TOLERANCE, f"R2 differs by {largest:.4f} from scikit-learn's"
    share = num_features / num_reference
    return [
        {
            "what": f"feature regression, {num_samples} x {dimensions}, {num_features} features, "
            f"{len(settings.l1_ratios)} ratios x {num_alphas} alphas x {settings.num_folds} folds "
            f"(scikit-learn on {num_reference} of them, scaled)",
            "ours_s": ours,
            "reference_s": reference * share,
            "ratio": reference_cpu * share / ours_cpu,
            "ours_cpu_s": ours_cpu,
            "reference_cpu_s": reference_cpu * share,
            "equal": True,
            "largest_difference": largest,
            "threads": num_blas_threads(),
            "dtype": "float64",
        }
    ]


def _planted(num_samples: int, *, dimensions: int, num_features: int) -> tuple[Array, Array]:
    """Correlated dimensions as embeddings have, and features that a part of them explains."""
    generator = np.random.default_rng(0)
    scales = np.linspace(1, 0.1, dimensions)
    rotation = np.linalg.qr(generator.standard_normal((dimensions, dimensions)))[0]
    samples = (generator.standard_normal((num_samples, dimensions)) * scales) @ rotation
    samples /= samples.std(axis=0)
    weights = generator.standard_normal((dimensions, num_features))
    weights *= generator.random(weights.shape) < np.linspace(0.05, 1.0, num_features)
    signal = samples @ weights
    return samples, signal + signal.std(axis=0) * generator.standard_normal(signal.shape)


def _reference(samples: Array, target: Array, *, settings: ElasticNetSettings) -> ElasticNetCV:
    model = ElasticNetCV(l1_ratio=list(settings.l1_ratios), cv=settings.num_folds, alphas=settings.num_alphas)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(samples, target)


def _r2(truth: Array, predicted: Array) -> Array:
    residual = ((truth - predicted) ** 2).sum(axis=0)
    return 1 - np.asarray(residual / ((truth - truth.mean(axis=0)) ** 2).sum(axis=0))
