"""Softmax probes of all blocks against a loop over scikit-learn, at the size of the BBBC021 crops.

Run: `python bench/probes.py [--features FILE.npz] [--output FILE.json]`. Without a file, correlated features
of uneven classes are drawn: 5,869 rows, 192 dimensions, 13 classes, 6 blocks, 5 folds, C in {1, 0.01}. A file
holds `features` [blocks, rows, dimensions], `labels` and `groups`. Threads: set OMP_NUM_THREADS, 2 for the
numbers in the documents. scikit-learn runs until its own tolerance (1e-4), ours until the probabilities agree
with the optimum within 1e-3, which is further.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler

from phenoscale.stats.classification import stratified_folds
from phenoscale.stats.softmax import predict_out_of_fold

STRENGTHS = (1.0, 0.01)
NUM_FOLDS = 5


def draw_problem(
    *, num_rows: int = 5869, num_features: int = 192, num_blocks: int = 6
) -> dict[str, np.ndarray]:
    """Features whose variances fall over four orders of magnitude, a weak signal of 13 uneven classes."""
    generator = np.random.default_rng(0)
    shares = generator.dirichlet(np.full(13, 0.4)) + 0.003
    labels = generator.choice(13, size=num_rows, p=shares / shares.sum())
    scales = np.logspace(0, -2, num_features)
    features = []
    for _ in range(num_blocks):
        mixing = np.linalg.qr(generator.normal(size=(num_features, num_features)))[0]
        signal = 0.3 * generator.normal(size=(13, num_features))[labels]
        features.append((scales * (signal + generator.normal(size=(num_rows, num_features)))) @ mixing)
    groups = generator.integers(0, 55, size=num_rows)
    return {"features": np.stack(features).astype(np.float32), "labels": labels, "groups": groups}


def loop_over_scikit_learn(
    features_BND: np.ndarray, labels_N: np.ndarray, *, folds_N: np.ndarray
) -> np.ndarray:
    """What the batched probes replace: one model per block, fold and strength."""
    predictions = np.empty((len(features_BND), len(STRENGTHS), len(labels_N)), dtype=np.intp)
    for block, features_ND in enumerate(features_BND):
        for fold in range(folds_N.max() + 1):
            is_train = folds_N != fold
            scaler = StandardScaler().fit(features_ND[is_train])
            train, held = scaler.transform(features_ND[is_train]), scaler.transform(features_ND[~is_train])
            for index, strength in enumerate(STRENGTHS):
                model = LogisticRegression(C=strength, class_weight="balanced", max_iter=3000)
                predictions[block, index, ~is_train] = model.fit(train, labels_N[is_train]).predict(held)
    return predictions


def main() -> None:
    """Time both, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--features", type=Path)
    parser.add_argument("--output", type=Path, default=Path("bench-probes.json"))
    arguments = parser.parse_args()
    problem = dict(np.load(arguments.features)) if arguments.features else draw_problem()
    labels = np.unique(problem["labels"], return_inverse=True)[1]
    folds = np.empty(len(labels), dtype=np.intp)
    splits = stratified_folds(labels, groups_N=problem["groups"], num_folds=NUM_FOLDS, seed=0)
    for number, (_, held) in enumerate(splits):
        folds[held] = number
    started, cpu = time.perf_counter(), time.process_time()
    ours = predict_out_of_fold(
        problem["features"],
        labels_N=labels,
        folds_N=folds,
        inverse_regularization=STRENGTHS,
        num_classes=int(labels.max()) + 1,
    )
    batched = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu}
    print(f"{'':20}{'seconds':>10}{'CPU seconds':>14}")
    print(f"{'batched':20}{batched['seconds']:10.2f}{batched['cpu_seconds']:14.2f}", flush=True)
    started, cpu = time.perf_counter(), time.process_time()
    reference = loop_over_scikit_learn(problem["features"], labels, folds_N=folds)
    loop = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu}
    print(f"{'scikit-learn loop':20}{loop['seconds']:10.2f}{loop['cpu_seconds']:14.2f}")
    result = {
        "shape": list(problem["features"].shape),
        "threads": os.environ.get("OMP_NUM_THREADS", str(os.cpu_count())),
        "batched": batched,
        "scikit_learn_loop": loop,
        "times_faster": loop["seconds"] / batched["seconds"],
        "predictions_alike": float((ours.predictions == reference).mean()),
        "largest_accuracy_difference": max(
            abs(balanced_accuracy_score(labels, mine) - balanced_accuracy_score(labels, theirs))
            for mine, theirs in zip(
                ours.predictions.reshape(-1, len(labels)), reference.reshape(-1, len(labels)), strict=True
            )
        ),
    }
    print(
        f"{result['times_faster']:.1f} times faster, {result['predictions_alike']:.4%} of predictions alike"
    )
    arguments.output.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
