"""StringDB recall at a false positive rate (MAE paper, CVPR 2024, Table 5; Sivanandan et al. 2023).

Every unordered pair of a gene list is ranked by cosine. Positive: STRING score above .95. Negative: no link
at all. Pairs with a weaker link are left out. Recall is `np.interp(.05, fpr, tpr)` on the receiver operating
characteristic. The published implementation takes its genes from a pivot table of the links inside the list,
so that genes without a link inside it are lost, and negatives with them: `left_out` reproduces it.
Shapes: G genes, Q pairs, B resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from phenoscale.benchmarks.relations.config import GenesWithoutLinks, StringRecallConfig
from phenoscale.benchmarks.relations.recall import under_test
from phenoscale.benchmarks.relations.string_links import LinkFile, Links, read_genes
from phenoscale.errors import UserError
from phenoscale.schema.maps import PerturbationMap
from phenoscale.schema.rows import Row, canonical_setting
from phenoscale.stats.cosines import unit_rows
from phenoscale.stats.intervals import Estimate, percentile_interval, resample_counts
from phenoscale.stats.precision_recall import CurveScores, LongRanking, rank_items, score_curve

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Names = npt.NDArray[np.str_]
Positions = npt.NDArray[np.intp]

MAX_GENES = 5000


@dataclass(frozen=True)
class LinkedPairs:
    """The pairs that are ranked.

    Attributes:
        first: [Q] positions of genes, each below its partner's.
        second: [Q].
        cosines: [Q].
        is_positive: [Q].
        num_weak: pairs left out for a link that is not strong enough.
    """

    first: Positions
    second: Positions
    cosines: Array
    is_positive: Mask
    num_weak: int


def linked_gene_rows(
    perturbation_map: PerturbationMap, *, links: LinkFile, config: StringRecallConfig
) -> list[Row]:
    """The rows of each stratum of a map, over a list of genes or all of the map.

    Raises:
        UserError: what `genes_of_list` or `string_recall_rows` refuses.
    """
    names = read_genes(config.genes) if config.genes else None
    rows: list[Row] = []
    for stratum, part in under_test(perturbation_map).by_stratum():
        genes, num_absent = genes_of_list(part, names, left_out=config.left_out)
        settings = {"list": "given" if config.genes else "map", **stratum}
        found = links.among(genes.entities)
        rows += string_recall_rows(genes, found, config=config, settings=settings, num_absent=num_absent)
    return rows


def genes_of_list(
    perturbation_map: PerturbationMap, names: Sequence[str] | None, *, left_out: Sequence[str]
) -> tuple[PerturbationMap, int]:
    """The genes of a list that are in a map, sorted by name, and how many are not.

    Raises:
        UserError: a gene twice, fewer than three genes, or too many to hold all pairs.
    """
    entities = perturbation_map.entities
    kept = np.ones(len(entities), np.bool_)
    for start in left_out:
        kept &= ~np.char.startswith(np.char.lower(entities), start.lower())
    if names is not None:
        kept &= np.isin(entities, list(names))
    rows = np.flatnonzero(kept)
    genes = perturbation_map.select(rows[np.argsort(entities[rows], kind="stable")])
    unique, counts = np.unique(genes.entities, return_counts=True)
    if (counts > 1).any():
        raise UserError(
            f"the map names {int((counts > 1).sum())} genes more than once, such as "
            f"{unique[counts > 1][:5].tolist()}, but a gene has one vector here; aggregate them first"
        )
    if not 3 <= len(genes) <= MAX_GENES:
        wanted = f" of the {len(names)} in the list" if names is not None else ""
        raise UserError(
            f"the map holds {len(genes)} genes{wanted}, but all their pairs are ranked and 3 to {MAX_GENES} "
            "genes can be; give a list with --genes that uses the map's symbols"
        )
    return genes, len(set(names) - set(genes.entities.tolist())) if names is not None else 0


def string_recall_rows(
    genes: PerturbationMap,
    links: Links,
    *,
    config: StringRecallConfig,
    settings: Mapping[str, Any] | None = None,
    num_absent: int = 0,
) -> list[Row]:
    """Recall at every false positive rate, area and average precision, for each convention of lone genes.

    Args:
        genes: the genes of the list, sorted by name.
        links: links among them.
        config: thresholds and conventions.
        settings: further entries of each row's setting.
        num_absent: genes of the list that the map lacks.

    Raises:
        UserError: no pair of one of the two kinds.
    """
    strengths = _strengths(links, num_genes=len(genes))
    units, is_zero = unit_rows(genes.embeddings)
    cosines = np.abs(units @ units.T) if config.absolute else units @ units.T
    shared = {
        "min_score": config.min_score,
        "absolute": config.absolute,
        "num_absent_genes": num_absent,
        "num_zero_vectors": int(is_zero.sum()),
        **(settings or {}),
    }
    rows: list[Row] = []
    for convention in config.genes_without_links:
        pairs = linked_pairs(cosines, strengths, min_score=config.min_score, convention=convention)
        num_positive = int(pairs.is_positive.sum())
        if num_positive in (0, len(pairs.is_positive)):
            raise UserError(
                f"the {len(genes)} genes have {num_positive} pairs with a score above {config.min_score:g} "
                f"and {len(pairs.is_positive) - num_positive} without a link, but both kinds are needed; "
                "give more genes, or the links of the right species"
            )
        setting = {"genes_without_links": convention, "interval": "genes", **shared}
        rows += _convention_rows(pairs, num_genes=len(genes), config=config, setting=setting)
    return rows


def linked_pairs(
    cosines_GG: Array, strengths_GG: Array, *, min_score: float, convention: GenesWithoutLinks
) -> LinkedPairs:
    """The positives and negatives of a list of genes.

    Args:
        cosines_GG: what ranks the pairs.
        strengths_GG: symmetric scores of the links, 0 where there is none.
        min_score: a pair above it is a positive.
        convention: what becomes of genes without a link.
    """
    first, second = np.triu_indices(len(strengths_GG), k=1)
    strength = strengths_GG[first, second]
    usable = (strength == 0) | (strength > min_score)
    if convention == "left_out":
        is_linked = np.asarray(strengths_GG.any(axis=0), np.bool_)
        here = is_linked[first] & is_linked[second]
    else:
        here = np.ones(len(first), np.bool_)
    kept = usable & here
    first, second = first[kept], second[kept]
    return LinkedPairs(
        first,
        second,
        cosines_GG[first, second],
        strength[kept] > min_score,
        int((here & ~usable).sum()),
    )


def _strengths(links: Links, *, num_genes: int) -> Array:
    """The largest score of each pair in either direction."""
    strengths = np.zeros((num_genes, num_genes))
    np.maximum.at(strengths, (links.first, links.second), links.scores)
    return np.maximum(strengths, strengths.T)


def _convention_rows(
    pairs: LinkedPairs, *, num_genes: int, config: StringRecallConfig, setting: Mapping[str, Any]
) -> list[Row]:
    ranking = rank_items(pairs.cosines, is_positive_N=pairs.is_positive)
    rates = config.false_positive_rates
    value = score_curve(ranking, false_positive_rates=rates)
    resampled = _resample(ranking, pairs, num_genes=num_genes, config=config)
    share = float(pairs.is_positive.mean())
    estimates: list[tuple[str, Mapping[str, Any], Estimate]] = [
        (
            "recall_at_fpr",
            {"false_positive_rate": rate, "chance": rate},
            percentile_interval(
                float(value.recalls[number]), resampled_B=np.array([r.recalls[number] for r in resampled])
            ),
        )
        for number, rate in enumerate(rates)
    ]
    areas = np.array([r.roc_auc for r in resampled])
    averages = np.array([r.average_precision for r in resampled])
    estimates += [
        ("roc_auc", {"chance": 0.5}, percentile_interval(value.roc_auc, resampled_B=areas)),
        (
            "average_precision",
            {"chance": round(share, 6)},
            percentile_interval(value.average_precision, resampled_B=averages),
        ),
    ]
    return [
        Row(
            benchmark="string_recall",
            source="StringDB",
            metric=metric,
            setting=canonical_setting(num_positive=int(pairs.is_positive.sum()), **more, **setting),
            **estimate.as_fields,
            n=len(pairs.first),
            excluded=pairs.num_weak,
            seed=config.seed,
        )
        for metric, more, estimate in estimates
    ]


def _resample(
    ranking: LongRanking, pairs: LinkedPairs, *, num_genes: int, config: StringRecallConfig
) -> list[CurveScores]:
    """Scores in resamples of the genes: a pair counts as often as the product of its genes' counts."""
    generator = np.random.default_rng(config.seed)
    counts = resample_counts(num_genes, num_resamples=config.num_resamples, generator=generator)
    return [
        score_curve(
            ranking,
            false_positive_rates=config.false_positive_rates,
            weights_N=count[pairs.first].astype(float) * count[pairs.second],
        )
        for count in counts
    ]
