"""Compound-gene activity (RxRx3-core): average precision of |cosine| for the genes that a compound acts on.

Kraus et al. (2025), arXiv 2503.20158. Differences to the public implementation, each on purpose: negatives
are drawn from the sorted pool by a generator of its own for every seed and name, so that they depend neither
on the process's hash seed nor on the other compounds; labels and scores of the by-gene variant are aligned;
genes that the map lacks are counted. Equal scores share one threshold.
Shapes: Q queries (compounds), T targets (genes), K concentrations with their maximum first, S seeds,
M items of one query.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from phenoscale.benchmarks.relations.compound_map import (
    at_concentrations,
    compound_names,
    concentrations_um,
    sides,
)
from phenoscale.benchmarks.relations.compound_truth import CompoundTruth
from phenoscale.benchmarks.relations.config import CompoundGeneConfig
from phenoscale.errors import UserError
from phenoscale.schema.maps import PerturbationMap
from phenoscale.schema.rows import Row, canonical_setting
from phenoscale.stats.cosines import unit_rows
from phenoscale.stats.intervals import Estimate, bootstrap_mean
from phenoscale.stats.precision_recall import score_rankings

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Names = npt.NDArray[np.str_]
Positions = npt.NDArray[np.intp]

MAXIMUM = "max"
_LEAST_NEGATIVES = 20
_SEEDS_AT_ONCE = 10
_NORMAL_975 = 1.959963984540054
_STATISTICS: dict[str, Callable[[Array], Array]] = {
    "mean": lambda values_SQ: values_SQ.mean(axis=1),
    "median": lambda values_SQ: np.median(values_SQ, axis=1),
    "quantile_0.75": lambda values_SQ: np.quantile(values_SQ, 0.75, axis=1),
    "quantile_0.95": lambda values_SQ: np.quantile(values_SQ, 0.95, axis=1),
}


@dataclass(frozen=True)
class Activities:
    """The pairs of a truth table that a map can score.

    Attributes:
        queries: [Q] names, sorted: compounds, or genes in the by-gene variant.
        targets: [T] names, sorted.
        potencies_nm: [Q, T], infinite where nothing was measured.
        concentrations: K labels: "max", then the concentrations in uM (None: unknown).
        similarities: [K, Q, T] absolute cosines, NaN where the map lacks the concentration.
        num_absent: active pairs with a compound or gene that the map lacks.
        num_zero: vectors of zero length among the compounds and genes used; their cosines are 0.
    """

    queries: Names
    targets: Names
    potencies_nm: Array
    concentrations: tuple[str | float | None, ...]
    similarities: Array
    num_absent: int
    num_zero: int

    def transposed(self) -> Activities:
        """Compounds and genes exchanged."""
        return replace(
            self,
            queries=self.targets,
            targets=self.queries,
            potencies_nm=self.potencies_nm.T,
            similarities=self.similarities.transpose(0, 2, 1),
        )


@dataclass(frozen=True)
class Draw:
    """What one query is scored on.

    Attributes:
        query: its position.
        items: [S, M] targets, the actives first.
        is_active: [M].
        random: [S, M] uniform scores.
    """

    query: int
    items: Positions
    is_active: Mask
    random: Array


@dataclass(frozen=True)
class Scores:
    """Average precision and ROC area of scores: [K, S, Q] of each query, [K, S] of all pairs at once."""

    average_precision: Array
    roc_auc: Array
    pooled_average_precision: Array
    pooled_roc_auc: Array


def compound_gene_rows(
    perturbation_map: PerturbationMap, *, truth: CompoundTruth, config: CompoundGeneConfig
) -> list[Row]:
    """Every statistic at the maximum and at every concentration, in every stratum.

    Raises:
        UserError: what `locate_activities` refuses, or no query that can be scored.
    """
    rows: list[Row] = []
    for stratum, part in perturbation_map.by_stratum():
        activities = locate_activities(part, truth, config=config)
        if config.by == "gene":
            activities = activities.transposed()
        draws = list(draw_items(activities, config=config))
        if not draws:
            raise UserError(
                f"none of the {len(activities.queries)} {config.by}s that map and truth table share has an "
                f"active at or below {config.active_nm:g} nM and enough negatives (max(2 x actives, "
                f"{_LEAST_NEGATIVES}) of {len(activities.targets)}); give a table with more genes"
            )
        shared = {
            "by": config.by,
            "active_nm": config.active_nm,
            "gray_nm": config.gray_nm,
            "num_seeds": config.num_seeds,
            **stratum,
        }
        rows += _rows_of_draws(activities, draws, config=config, shared=shared)
        rows += _count_rows(activities, truth, config=config, shared=shared)
    return [replace(row, seed=config.seed) for row in rows]


def locate_activities(
    perturbation_map: PerturbationMap, truth: CompoundTruth, *, config: CompoundGeneConfig
) -> Activities:
    """Find the compounds and genes of a truth table in a map, and take their cosines.

    Raises:
        UserError: a map that does not tell compounds from genes, a gene or dose twice, or nothing in common.
    """
    compounds, doses = compound_names(perturbation_map), concentrations_um(perturbation_map)
    is_compound, is_gene = sides(perturbation_map)
    is_compound = is_compound & np.isin(compounds, truth.compounds)
    is_gene = is_gene & np.isin(perturbation_map.entities, truth.genes)
    if not is_compound.any() or not is_gene.any():
        raise UserError(
            f"the map holds {int(is_compound.sum())} vectors of compounds and {int(is_gene.sum())} genes of "
            f"the truth table (compounds such as {truth.compounds[:3].tolist()}, genes such as "
            f"{truth.genes[:3].tolist()}), but both are needed; use the same names in both"
        )
    if config.concentrations:
        is_compound = is_compound & at_concentrations(doses, is_compound, wanted=config.concentrations)
    units, is_zero = unit_rows(perturbation_map.embeddings)
    genes, gene_rows = np.unique(perturbation_map.entities[is_gene], return_index=True)
    if len(genes) < int(is_gene.sum()):
        raise UserError(
            f"the map has {int(is_gene.sum())} vectors for {len(genes)} genes, but a gene has "
            "one; aggregate first"
        )
    queries, rows_C = np.unique(compounds[is_compound], return_inverse=True)
    levels, codes_C = np.unique(doses[is_compound], return_inverse=True)
    slots = np.stack([codes_C, rows_C])
    if np.unique(slots, axis=1).shape[1] < slots.shape[1]:
        raise UserError(
            "the map holds a compound twice at one concentration, but each has one vector there; "
            "aggregate first"
        )
    cosines = np.full((len(levels), len(queries), len(genes)), np.nan)
    cosines[codes_C, rows_C] = np.abs(units[is_compound] @ units[is_gene][gene_rows].T)
    maximum = np.fmax.reduce(cosines, axis=0)
    known = np.isin(truth.compounds, queries) & np.isin(truth.genes, genes)
    potencies = np.full((len(queries), len(genes)), np.inf)
    place = (np.searchsorted(queries, truth.compounds[known]), np.searchsorted(genes, truth.genes[known]))
    potencies[place] = truth.potencies_nm[known]
    return Activities(
        queries=queries,
        targets=genes,
        potencies_nm=potencies,
        concentrations=(MAXIMUM, *(float(level) if np.isfinite(level) else None for level in levels)),
        similarities=np.concatenate([maximum[None], cosines]),
        num_absent=int((~known & (truth.potencies_nm <= config.active_nm)).sum()),
        num_zero=int(is_zero[is_compound | is_gene].sum()),
    )


def draw_items(activities: Activities, *, config: CompoundGeneConfig) -> Iterator[Draw]:
    """Draw the negatives of each query that has an active and enough other targets."""
    for query, name in enumerate(activities.queries):
        potencies = activities.potencies_nm[query]
        actives = np.flatnonzero(potencies <= config.active_nm)
        pool = np.flatnonzero(potencies > config.gray_nm)
        count = max(2 * len(actives), _LEAST_NEGATIVES)
        if not len(actives) or len(pool) < count:
            continue
        items = np.empty((config.num_seeds, len(actives) + count), np.intp)
        items[:, : len(actives)] = actives
        random = np.empty(items.shape)
        for draw in range(config.num_seeds):
            generator = np.random.default_rng([config.seed + draw, _number_of(str(name))])
            items[draw, len(actives) :] = generator.choice(pool, count, replace=False)
            random[draw] = generator.random(items.shape[1])
        yield Draw(query, items, np.arange(items.shape[1]) < len(actives), random)


def score_draws(activities: Activities, draws: list[Draw], *, use_random: bool) -> Scores:
    """Score all draws, by the map or by their random scores (where the map has a value)."""
    shape = (len(activities.concentrations), len(draws[0].items), len(draws))
    average, area = np.empty(shape), np.empty(shape)
    for number, draw in enumerate(draws):
        values_KSM = _values(activities, draw, use_random=use_random)
        found = score_rankings(
            values_KSM.reshape(-1, values_KSM.shape[2]), is_positive_RN=draw.is_active[None]
        )
        average[:, :, number] = found.average_precision.reshape(shape[:2])
        area[:, :, number] = found.roc_auc.reshape(shape[:2])
    pooled_average, pooled_area = np.empty(shape[:2]), np.empty(shape[:2])
    is_active = np.concatenate([draw.is_active for draw in draws])[None]
    for start in range(0, shape[1], _SEEDS_AT_ONCE):
        some = slice(start, start + _SEEDS_AT_ONCE)
        values = np.concatenate(
            [_values(activities, draw, use_random=use_random, seeds=some) for draw in draws], axis=2
        )
        for number, values_SM in enumerate(values):
            found = score_rankings(values_SM, is_positive_RN=is_active)
            pooled_average[number, some], pooled_area[number, some] = found.average_precision, found.roc_auc
    return Scores(average, area, pooled_average, pooled_area)


def _values(
    activities: Activities, draw: Draw, *, use_random: bool, seeds: slice = slice(None)
) -> npt.NDArray[np.float64]:
    values_KSM: Array = activities.similarities[:, draw.query][:, draw.items[seeds]]
    return np.where(np.isnan(values_KSM), np.nan, draw.random[None, seeds]) if use_random else values_KSM


def _rows_of_draws(
    activities: Activities, draws: list[Draw], *, config: CompoundGeneConfig, shared: Mapping[str, Any]
) -> list[Row]:
    ours, random = (score_draws(activities, draws, use_random=flag) for flag in (False, True))
    rows: list[Row] = []
    for number, concentration in enumerate(activities.concentrations):
        kept = np.isfinite(ours.average_precision[number]).all(axis=0)
        counts: dict[str, Any] = {"n": int(kept.sum()), "excluded": len(activities.queries) - int(kept.sum())}
        base = {"concentration_um": concentration, **shared}
        if not kept.any():
            nothing = canonical_setting(averaging="macro", statistic="mean", **base)
            rows.append(Row("compound_gene", "", "average_precision", nothing, **counts))
            continue
        pairs = (ours.average_precision[number][:, kept], random.average_precision[number][:, kept])
        for statistic, take in _STATISTICS.items():
            setting = {"averaging": "macro", "statistic": statistic, **base}
            spread = _of_queries(pairs[0], config=config) if statistic == "mean" else None
            rows += _compared(take(pairs[0]), take(pairs[1]), counts=counts, setting=setting, spread=spread)
        micro = {"averaging": "micro", "statistic": "pooled", **base}
        both = (ours.pooled_average_precision[number], random.pooled_average_precision[number])
        rows += _compared(*both, counts=counts, setting=micro, spread=None)
        area = canonical_setting(averaging="macro", statistic="mean", interval="seeds", **base)
        rows.append(
            _row(
                "roc_auc", _of_seeds(ours.roc_auc[number][:, kept].mean(axis=1)), setting=area, counts=counts
            )
        )
        pooled = canonical_setting(**micro, interval="seeds")
        rows.append(_row("roc_auc", _of_seeds(ours.pooled_roc_auc[number]), setting=pooled, counts=counts))
    return rows


def _compared(
    ours_S: Array,
    random_S: Array,
    *,
    counts: Mapping[str, Any],
    setting: Mapping[str, Any],
    spread: Estimate | None,
) -> list[Row]:
    """Mean and deviation over seeds of the map and of random scores, and the z-score between them."""
    interval = "seeds" if spread is None else f"{setting['by']}s"
    named = canonical_setting(**setting, interval=interval)
    drawn = canonical_setting(**setting, interval="seeds")
    plain = canonical_setting(**setting)
    rows = [
        _row("average_precision", spread or _of_seeds(ours_S), setting=named, counts=counts),
        _row("random_average_precision", _of_seeds(random_S), setting=drawn, counts=counts),
    ]
    if len(ours_S) > 1:
        sigma = (float(ours_S.std(ddof=1)), float(random_S.std(ddof=1)))
        both = float(np.hypot(*sigma))
        z = (ours_S.mean() - random_S.mean()) / both if both else np.nan
        rows += [
            Row("compound_gene", "", "average_precision_std", plain, sigma[0], **counts),
            Row("compound_gene", "", "random_average_precision_std", plain, sigma[1], **counts),
            Row("compound_gene", "", "z_score", plain, float(z), **counts),
        ]
    return rows


def _row(metric: str, estimate: Estimate, *, setting: str, counts: Mapping[str, Any]) -> Row:
    return Row("compound_gene", "", metric, setting, estimate.value, estimate.low, estimate.high, **counts)


def _of_seeds(values_S: Array) -> Estimate:
    """Mean over seeds, and where 95 % of seeds lie under a normal distribution."""
    mean, half = float(values_S.mean()), np.nan
    if len(values_S) > 1:
        half = _NORMAL_975 * float(values_S.std(ddof=1))
    return Estimate(mean, mean - half, mean + half)


def _of_queries(values_SQ: Array, *, config: CompoundGeneConfig) -> Estimate:
    return bootstrap_mean(values_SQ.mean(axis=0), num_resamples=config.num_resamples, seed=config.seed)


def _count_rows(
    activities: Activities, truth: CompoundTruth, *, config: CompoundGeneConfig, shared: Mapping[str, Any]
) -> list[Row]:
    """How much of the truth table is used: active pairs, rows without a value, zero vectors."""
    setting = canonical_setting(**shared)
    num_active = int((activities.potencies_nm <= config.active_nm).sum())
    counted = {
        "num_active_pairs": (num_active, activities.num_absent),
        "num_pairs": (int(np.isfinite(activities.potencies_nm).sum()), truth.num_unusable),
    }
    if activities.num_zero:
        counted["num_zero_vectors"] = (activities.num_zero, activities.num_zero)
    return [
        Row("compound_gene", "", metric, setting, value, n=value, excluded=excluded)
        for metric, (value, excluded) in counted.items()
    ]


def _number_of(name: str) -> int:
    """A number that stands for a name in every process."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
