"""Compound-gene activity and StringDB recall against the published algorithms, written here as loops.

Both sides start from the same map and tables in memory. The compound-gene reference takes our draws of
negatives (the published ones cannot be repeated) and scores one ranking at a time with scikit-learn; the
StringDB reference looks every pair of genes up by name in a frame of links, as a pivot table of STRING is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from phenoscale.benchmarks.relations.compound_gene import Activities, Draw, draw_items, score_draws
from phenoscale.benchmarks.relations.config import CompoundGeneConfig, StringRecallConfig
from phenoscale.benchmarks.relations.string_fpr import string_recall_rows
from phenoscale.benchmarks.relations.string_links import Links
from phenoscale.schema.maps import PerturbationMap
from phenoscale.stats.threads import num_blas_threads

Array = npt.NDArray[np.float64]


def run(
    *, num_compounds: int = 40, num_genes: int = 735, num_seeds: int = 5, num_listed: int = 300
) -> list[dict[str, Any]]:
    """One row per benchmark."""
    return [
        _compound_gene(num_compounds, num_genes, num_seeds=num_seeds),
        _string_recall(num_listed),
    ]


def _compound_gene(num_compounds: int, num_genes: int, *, num_seeds: int) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    similarities = generator.random((9, num_compounds, num_genes))
    similarities[0] = similarities[1:].max(axis=0)
    activities = Activities(
        queries=np.array([f"c{number:04d}" for number in range(num_compounds)]),
        targets=np.array([f"g{number:04d}" for number in range(num_genes)]),
        potencies_nm=np.where(generator.random((num_compounds, num_genes)) < 0.004, 10.0, np.inf),
        concentrations=("max", *map(float, range(1, 9))),
        similarities=similarities,
        num_absent=0,
        num_zero=0,
    )
    draws = list(draw_items(activities, config=CompoundGeneConfig(num_seeds=num_seeds)))
    ours, ours_s = _timed(lambda: score_draws(activities, draws, use_random=False).average_precision)
    reference, reference_s = _timed(lambda: _one_ranking_at_a_time(activities, draws))
    assert np.allclose(ours, reference, atol=1e-12), "average precision differs from scikit-learn's"
    what = f"compound-gene scoring, {len(draws)} compounds x 9 concentrations x {num_seeds} seeds"
    return _row(what, ours_s=ours_s, reference_s=reference_s)


def _one_ranking_at_a_time(activities: Activities, draws: list[Draw]) -> Array:
    shape = (len(activities.concentrations), len(draws[0].items), len(draws))
    found = np.empty(shape)
    for number, seed, place in np.ndindex(shape):
        draw = draws[place]
        scores = activities.similarities[number, draw.query, draw.items[seed]]
        found[number, seed, place] = average_precision_score(draw.is_active, scores)
        roc_auc_score(draw.is_active, scores)
    return found


def _string_recall(num_genes: int) -> dict[str, Any]:
    generator = np.random.default_rng(1)
    names = [f"g{number:04d}" for number in range(num_genes)]
    genes = PerturbationMap(
        pd.DataFrame({"perturbation": names}), generator.standard_normal((num_genes, 128))
    )
    first, second = np.triu_indices(num_genes, 1)
    linked = generator.random(len(first)) < 0.05
    scores = generator.choice([0.3, 0.7, 0.96, 0.99], int(linked.sum()))
    links = Links(first[linked], second[linked], scores, int(linked.sum()))
    config = StringRecallConfig(genes_without_links=("left_out",), num_resamples=0)
    ours, ours_s = _timed(lambda: [row.value for row in string_recall_rows(genes, links, config=config)][:2])
    reference, reference_s = _timed(lambda: _one_pair_at_a_time(genes, links, names=names))
    assert np.allclose(np.array(ours, float), reference, atol=1e-12), f"{ours} is not {reference}"
    return _row(f"StringDB recall, {num_genes} genes", ours_s=ours_s, reference_s=reference_s)


def _one_pair_at_a_time(genes: PerturbationMap, links: Links, *, names: list[str]) -> list[float]:
    pairs = pd.DataFrame({"a": links.first, "b": links.second, "score": links.scores})
    pairs = pd.concat([pairs, pairs.rename(columns={"a": "b", "b": "a"})])
    table = pairs.pivot_table(index="a", columns="b", values="score").fillna(0.0)
    table.index = table.columns = pd.Index([names[number] for number in table.index])
    vectors = genes.embeddings / np.linalg.norm(genes.embeddings, axis=1, keepdims=True)
    cosines = pd.DataFrame(vectors @ vectors.T, index=names, columns=names)
    labels, values = [], []
    for place, left in enumerate(table.index):
        for right in table.index[place + 1 :]:
            score = table.loc[left, right]
            if score > 0.95 or score == 0:
                labels.append(score > 0.95)
                values.append(cosines.loc[left, right])
    false_rate, true_rate, _ = roc_curve(labels, values)
    return [float(recall) for recall in np.interp([0.05, 0.1], false_rate, true_rate)]


def _timed(function: Callable[[], Any]) -> tuple[Any, float]:
    started = time.process_time()
    return function(), time.process_time() - started


def _row(what: str, *, ours_s: float, reference_s: float) -> dict[str, Any]:
    return {
        "what": what,
        "ours_s": ours_s,
        "reference_s": reference_s,
        "ratio": reference_s / ours_s,
        "equal": True,
        "threads": num_blas_threads(),
        "dtype": "float64",
    }
