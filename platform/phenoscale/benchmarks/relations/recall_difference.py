"""Recall of one map minus that of another on the same pairs, with a paired bootstrap over the pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from phenoscale.benchmarks.relations.annotations import AnnotationSource
from phenoscale.benchmarks.relations.config import RecallConfig
from phenoscale.benchmarks.relations.recall import (
    Bootstrap,
    Tails,
    score_pairs,
    under_test,
    with_directions,
)
from phenoscale.errors import UserError
from phenoscale.schema.maps import PerturbationMap
from phenoscale.schema.rows import RECALL, RECALL_DIFFERENCE, SKIPPED, Row, canonical_setting
from phenoscale.stats.intervals import Estimate, resample_counts


@dataclass(frozen=True)
class PairedDifference:
    """Recall of two maps on the same pairs.

    Attributes:
        first: recall of the first map.
        second: recall of the second.
        difference: first minus second with its interval.
        num_pairs: pairs that both maps hold.
    """

    first: float
    second: float
    difference: Estimate
    num_pairs: int


def paired_recall_difference(
    first: PerturbationMap,
    second: PerturbationMap,
    *,
    source: AnnotationSource,
    tails: Tails = (0.05, 0.95),
    bootstrap: Bootstrap | None = None,
) -> PairedDifference:
    """Difference in recall between two maps with a paired bootstrap over the pairs that both hold.

    Each map keeps its own null. Resampling pairs together takes out what makes a pair hard for both maps; it
    treats pairs of one gene as independent, so it speaks for these pairs and not for other genes.

    Raises:
        UserError: no common pair, or what `score_pairs` refuses.
    """
    bootstrap = bootstrap or Bootstrap()
    hits = [_hits_by_pair(part, source=source, tails=tails) for part in (first, second)]
    common = sorted(set(hits[0]) & set(hits[1]))
    if not common:
        raise UserError(f"the two maps share no pair of {source.name}; compare maps of the same genes")
    values = np.array([[hits[0][pair], hits[1][pair]] for pair in common], np.float64)
    generator = np.random.default_rng(bootstrap.seed)
    gaps = values[:, 0] - values[:, 1]
    draws = resample_counts(len(gaps), num_resamples=bootstrap.num_resamples, generator=generator)
    resampled = draws @ gaps / len(gaps)
    # One pair alone is drawn in every resample: they say nothing of others.
    has_interval = len(resampled) and len(gaps) > 1
    low, high = np.quantile(resampled, [0.025, 0.975]) if has_interval else (np.nan, np.nan)
    return PairedDifference(
        first=float(values[:, 0].mean()),
        second=float(values[:, 1].mean()),
        difference=Estimate(float(gaps.mean()), float(low), float(high)),
        num_pairs=len(common),
    )


def recall_differences(
    reference: PerturbationMap,
    others: Mapping[tuple[str, str], PerturbationMap],
    *,
    sources: Sequence[AnnotationSource],
    config: RecallConfig,
) -> list[Row]:
    """A row for each other map, by name and step, and each source; one that cannot be compared says why."""
    return [
        _difference_row(reference, other, source=source, against=against, config=config)
        for against, other in others.items()
        for source in sources
    ]


def _difference_row(
    reference: PerturbationMap,
    other: PerturbationMap,
    *,
    source: AnnotationSource,
    against: tuple[str, str],
    config: RecallConfig,
) -> Row:
    settings = {"against": against[0], "against_step": against[1]}
    tails, bootstrap = (config.lower, config.upper), Bootstrap(config.num_resamples, config.seed)
    try:
        found = paired_recall_difference(reference, other, source=source, tails=tails, bootstrap=bootstrap)
    except UserError as error:
        setting = canonical_setting(reason=str(error), source=source.name, **settings)
        return Row(RECALL, "", SKIPPED, setting)
    interval = {"interval": "pairs"} if bootstrap.num_resamples else {}
    return Row(
        benchmark=RECALL,
        source=source.name,
        metric=RECALL_DIFFERENCE,
        setting=canonical_setting(lower=tails[0], upper=tails[1], chance=0.0, **interval, **settings),
        **found.difference.as_fields,
        n=found.num_pairs,
        seed=bootstrap.seed,
    )


def _hits_by_pair(
    perturbation_map: PerturbationMap, *, source: AnnotationSource, tails: Tails
) -> dict[tuple[Any, ...], bool]:
    found: dict[tuple[Any, ...], bool] = {}
    for stratum, everything in under_test(perturbation_map).by_stratum():
        part = with_directions(everything)
        scores = score_pairs(part.entities, part.embeddings, sources=[source], tails=[tails])
        names = np.sort(scores.entities[scores.sources[0].pairs], axis=1)
        place = tuple(str(value) for value in stratum.values())
        for (left, right), hit in zip(names.tolist(), scores.sources[0].hits[tails].tolist(), strict=True):
            found[(*place, left, right)] = hit
    return found
