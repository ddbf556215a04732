"""Known-relationship recall exactly as published (EFAAR `compute_recall`, 2248f40), without sorting pairs.

A pair is recalled at (lower, upper) when #{null <= q} / M <= lower or #{null < q} / M >= upper, where the
null is the cosine of every pair of the map and M their number. With k the largest i with i / M <= lower and K
the smallest with i / M >= upper that is q < null_(k) or q > null_(K-1): two order statistics decide.

One departure: perturbations whose vector is zero leave the map first. Published, they stay with the cosine 0
to every other, so that their pairs are misses and the null holds cosines that nothing measured.
Shapes: N perturbations, D dimensions, Q pairs of a source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from phenoscale.benchmarks.relations.annotations import AnnotationSource, by_number_of_sources
from phenoscale.benchmarks.relations.config import RecallConfig
from phenoscale.errors import UserError
from phenoscale.schema.maps import PerturbationMap
from phenoscale.schema.rows import RECALL, RECALL_ACROSS_ARMS, RECALL_WITHIN_ARM, Row, canonical_setting
from phenoscale.stats.cosines import pair_cosines
from phenoscale.stats.intervals import Counts, bootstrap_pair_mean, resample_counts
from phenoscale.stats.pair_ranks import num_pairs, unit_vectors

Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.intp]
Tails = tuple[float, float]

ZeroVectors = Literal["left_out", "kept"]

MIN_PERTURBATIONS = 20
_GENETIC = ("crispr", "sirna", "orf")


@dataclass(frozen=True)
class SourceScores:
    """The pairs of one source that are in a map.

    Attributes:
        source: name of the annotation source.
        pairs: [Q, 2] positions in the map, the smaller first.
        hits: for each pair of tails, which pairs are recalled, [Q].
        num_excluded: pairs of the source that are not in the map.
    """

    source: str
    pairs: Positions
    hits: Mapping[Tails, Mask]
    num_excluded: int


@dataclass(frozen=True)
class RecallScores:
    """Scores of all sources on one map (one stratum).

    Attributes:
        entities: names of the N perturbations.
        sources: one entry per annotation source, in the given order.
    """

    entities: npt.NDArray[np.str_]
    sources: tuple[SourceScores, ...]


def tail_ranks(tails: Tails, *, total: int) -> tuple[int, int]:
    """(k, K): the largest i with i / total <= lower, and the smallest with i / total >= upper, in float64."""
    lower, upper = tails
    k = min(int(lower * total) + 1, total)
    while k > 0 and k / total > lower:
        k -= 1
    above = max(int(upper * total) - 1, 0)
    while above < total and above / total < upper:
        above += 1
    return k, above


def score_pairs(
    entities: npt.NDArray[np.str_],
    embeddings_ND: npt.NDArray[np.floating[Any]],
    *,
    sources: Sequence[AnnotationSource],
    tails: Sequence[Tails],
) -> RecallScores:
    """Score every pair of every source against all pairs of a map, in one pass over the similarities.

    Exactly as published, a zero vector with its cosine 0 included: `with_directions` leaves them out before.

    Raises:
        UserError: fewer than 20 perturbations, duplicate names, or no source with a pair in the map.
    """
    _refuse_unusable(entities)
    located = [_locate(source, entities) for source in sources]
    if not any(len(pairs) for pairs in located):
        known = np.unique(np.concatenate([source.entities for source in sources]))[:5].tolist()
        raise UserError(
            f"no pair of {', '.join(source.name for source in sources)} has both entities in the map: the "
            "map has names "
            f"such as {entities[:5].tolist()}, the pairs such as {known}; use the same symbols in both"
        )
    total = num_pairs(len(entities))
    ranks = {pair: tail_ranks(pair, total=total) for pair in tails}
    wanted = sorted({k for k, _ in ranks.values() if k < total} | {K - 1 for _, K in ranks.values() if K > 0})
    found = pair_cosines(embeddings_ND, ranks=wanted, queries_Q2=np.concatenate(located))
    order = dict(zip(wanted, found.order.tolist(), strict=True))
    cosines = np.split(found.query, np.cumsum([len(pairs) for pairs in located])[:-1])
    scored = []
    for source, pairs, values in zip(sources, located, cosines, strict=True):
        hits = {
            pair: (values < order.get(k, np.inf)) | (values > order.get(above - 1, -np.inf))
            for pair, (k, above) in ranks.items()
        }
        scored.append(SourceScores(source.name, pairs, hits, len(source) - len(pairs)))
    return RecallScores(entities, tuple(scored))


def under_test(perturbation_map: PerturbationMap) -> PerturbationMap:
    """The perturbations that belong into the null: no controls, and only genes where the map has genes.

    Raises:
        UserError: nothing is left.
    """
    if "perturbation_type" not in perturbation_map.frame:
        return perturbation_map
    kinds = perturbation_map.frame["perturbation_type"].fillna("").astype(str)
    genetic = kinds.isin(_GENETIC).to_numpy()
    kept = genetic if genetic.any() else (kinds != "control").to_numpy()
    if not kept.any():
        raise UserError(
            "the map holds nothing but controls, so there is nothing to recall; map perturbations"
        )
    return perturbation_map.select(kept)


def with_directions(perturbation_map: PerturbationMap) -> PerturbationMap:
    """The perturbations whose vector is not zero: a cosine needs two directions.

    Raises:
        UserError: nothing is left.
    """
    is_zero = unit_vectors(perturbation_map.embeddings).is_zero
    if is_zero.all():
        raise UserError(
            f"all {len(perturbation_map)} vectors of the map are zero, but a cosine needs directions; check "
            "how the map was made"
        )
    return perturbation_map.select(~is_zero) if is_zero.any() else perturbation_map


def known_pair_rows(
    perturbation_map: PerturbationMap,
    *,
    annotations: Sequence[AnnotationSource],
    config: RecallConfig,
    genes: Mapping[str, str] | None = None,
) -> list[Row]:
    """Recall of every source at every pair of tails of a config; `genes` are arms. See `recall_rows`."""
    further = [(tail, 1 - tail) for tail in config.curve]
    return recall_rows(
        perturbation_map,
        sources=sources_to_score(annotations, config=config),
        tails=list(dict.fromkeys([(config.lower, config.upper), *further])),
        arms=genes,
        bootstrap=Bootstrap(config.num_resamples, config.seed),
        zero_vectors=config.zero_vectors,
    )


def sources_to_score(
    annotations: Sequence[AnnotationSource], *, config: RecallConfig
) -> list[AnnotationSource]:
    """The sources, and where it is wanted the pairs that at least 1, 2, ... of several have."""
    grouped = config.by_number_of_sources and len(annotations) > 1
    return [*annotations, *(by_number_of_sources(annotations) if grouped else [])]


def recall_rows(
    perturbation_map: PerturbationMap,
    *,
    sources: Sequence[AnnotationSource],
    tails: Sequence[Tails],
    arms: Mapping[str, str] | None = None,
    bootstrap: Bootstrap,
    zero_vectors: ZeroVectors = "left_out",
) -> list[Row]:
    """Recall of every source at every pair of tails, in every stratum, with intervals from resampling genes.

    Args:
        perturbation_map: the map; controls, and compounds beside genes, are left out.
        sources: annotation sources; one without a pair in the map is a row without a value.
        tails: pairs (lower, upper).
        arms: arm of each gene, to split the pairs into those within an arm and those across.
        bootstrap: resamples and seed.
        zero_vectors: left out, with their pairs as excluded ones, or kept as published, which is for planted
            truth, where zero says that a gene has no phenotype. A row `num_zero_vectors` has their number.
    """
    rows: list[Row] = []
    for stratum, everything in under_test(perturbation_map).by_stratum():
        num_zero = int(unit_vectors(everything.embeddings).is_zero.sum())
        part = everything if zero_vectors == "kept" else with_directions(everything)
        scores = score_pairs(part.entities, part.embeddings, sources=sources, tails=tails)
        kept = {"zero_vectors": "kept"} if zero_vectors == "kept" else {}
        shared = {**kept, **stratum}
        generator = np.random.default_rng(bootstrap.seed)
        counts = resample_counts(len(part), num_resamples=bootstrap.num_resamples, generator=generator)
        for source in scores.sources:
            for pair in tails:
                rows += _source_rows(source, scores, pair=pair, arms=arms, settings=shared, counts_BN=counts)
        if num_zero:
            setting, excluded = canonical_setting(**shared), len(everything) - len(part)
            number = len(everything)
            rows.append(Row(RECALL, "", "num_zero_vectors", setting, num_zero, n=number, excluded=excluded))
    # The plain recall of each source comes first: whoever reads one number reads that one.
    rows = [replace(row, seed=bootstrap.seed) for row in rows]
    return sorted(rows, key=lambda row: row.metric != RECALL)


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are drawn."""

    num_resamples: int = 1000
    seed: int = 0


def _source_rows(
    source: SourceScores,
    scores: RecallScores,
    *,
    pair: Tails,
    arms: Mapping[str, str] | None,
    settings: Mapping[str, Any],
    counts_BN: Counts,
) -> list[Row]:
    everything = np.ones(len(source.pairs), np.bool_)
    parts = {RECALL: everything}
    if arms is not None:
        of_arm = np.array([arms.get(str(name), "") for name in scores.entities])
        first, second = of_arm[source.pairs[:, 0]], of_arm[source.pairs[:, 1]]
        known = (first != "") & (second != "")
        parts |= {
            RECALL_WITHIN_ARM: known & (first == second),
            RECALL_ACROSS_ARMS: known & (first != second),
        }
    interval = {"interval": "genes"} if len(counts_BN) else {}
    setting = canonical_setting(
        lower=pair[0], upper=pair[1], chance=round(pair[0] + 1 - pair[1], 12), **interval, **settings
    )
    rows = []
    for metric, mask in parts.items():
        estimate = bootstrap_pair_mean(
            source.hits[pair][mask].astype(np.float64),
            pairs_Q2=source.pairs[mask],
            counts_BN=counts_BN,
        )
        rows.append(
            Row(
                benchmark=RECALL,
                source=source.source,
                metric=metric,
                setting=setting,
                **estimate.as_fields,
                n=int(mask.sum()),
                excluded=source.num_excluded + int(len(mask) - mask.sum()),
            )
        )
    return rows


def _refuse_unusable(entities_N: npt.NDArray[np.str_]) -> None:
    if len(entities_N) < MIN_PERTURBATIONS:
        raise UserError(
            f"the map has {len(entities_N)} perturbations, but recall needs at least {MIN_PERTURBATIONS} "
            "whose vector is not zero, for a null; map more perturbations"
        )
    names, counts = np.unique(entities_N, return_counts=True)
    if (counts > 1).any():
        raise UserError(
            f"the map names {int((counts > 1).sum())} entities more than once, such as "
            f"{names[counts > 1][:5].tolist()}, "
            "but a pair of names must mean one pair of vectors; aggregate them first"
        )


def _locate(source: AnnotationSource, entities_N: npt.NDArray[np.str_]) -> Positions:
    """Positions of the source's pairs in the map, the smaller first; pairs outside the map are left out."""
    order = np.argsort(entities_N)
    ranked = entities_N[order]
    found = np.minimum(np.searchsorted(ranked, source.pairs), len(ranked) - 1)
    inside = (ranked[found] == source.pairs).all(axis=1)
    return np.sort(order[found[inside]], axis=1)
