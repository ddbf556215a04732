"""Phenotypic activity, phenotypic consistency and percent replicating of any table of profiles or embeddings.

Activity and consistency are perturbation detection and sibling retrieval (science.md 8.8) with named columns;
percent replicating is science.md 8.12. Shapes: N rows, D dimensions, G groups, R replicates.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from phenoscale.benchmarks.mean_rows import mean_rows
from phenoscale.benchmarks.profiles.average_precision import Array, RankedQueries, judge, random_subsets
from phenoscale.benchmarks.profiles.config import (
    ActivityConfig,
    PercentReplicatingConfig,
    PhenotypicConsistencyConfig,
)
from phenoscale.benchmarks.profiles.jump import refuse_no_query, retrieval_rows
from phenoscale.benchmarks.profiles.profile_tables import (
    Labels,
    Mask,
    Positions,
    Profiles,
    consensus,
    label_sets,
    negative_controls,
)
from phenoscale.benchmarks.profiles.rankings import PairRule, rank_labels, rank_rows
from phenoscale.benchmarks.wells.control_fit import control_fit
from phenoscale.errors import UserError
from phenoscale.mapping.batches import rows_by_label
from phenoscale.schema.rows import Row, canonical_setting
from phenoscale.stats.cosines import unit_rows

ACTIVITY, CONSISTENCY, REPLICATING = "phenotypic_activity", "phenotypic_consistency", "percent_replicating"
_CHUNK = 4_000_000


def activity_rows(profiles: Profiles, *, config: ActivityConfig) -> list[Row]:
    """Replicates of each group against negative controls."""
    judged = judge(rank_activity(profiles, config=config), significance=config)
    said = _said(config, "positive_same", "positive_different", "negative_same", "negative_different")
    settings = {
        **said,
        **control_fit(config.profiles, verb="benchmark phenotypic-activity"),
        **profiles.settings,
    }
    return retrieval_rows(
        judged, significance=config, benchmark=ACTIVITY, source=config.group_by, settings=settings
    )


def label_rows(profiles: Profiles, *, config: PhenotypicConsistencyConfig) -> list[Row]:
    """Perturbations with a common label against the others."""
    judged = judge(rank_consistency(profiles, config=config), significance=config)
    settings = {
        **_said(config, "perturbation", "positive_different", "negative_different"),
        **profiles.settings,
    }
    return retrieval_rows(
        judged, significance=config, benchmark=CONSISTENCY, source=config.label, settings=settings
    )


def rank_activity(profiles: Profiles, *, config: ActivityConfig) -> RankedQueries:
    """Rank the rows of each group among negative controls.

    Raises:
        UserError: a missing column, no negative control, or nothing to rank.
    """
    is_control = negative_controls(profiles, column=config.control, value=config.negative_control)
    names = profiles.column(config.group_by, purpose="phenotypic activity")
    is_query = ~is_control & (names != "")
    ranked = rank_rows(
        profiles.units(),
        names,
        is_query=is_query,
        positives=PairRule(
            same=_columns(profiles, config.positive_same or (config.group_by,)),
            different=_columns(profiles, config.positive_different),
            is_candidate=is_query,
        ),
        negatives=PairRule(
            same=_columns(profiles, config.negative_same),
            different=_columns(profiles, config.negative_different),
            is_candidate=is_control,
        ),
        is_absolute=config.similarity == "absolute-cosine",
    )
    refuse_no_query(ranked, needed=f"a value of `{config.group_by}` with two comparable rows and controls")
    return ranked


def rank_consistency(profiles: Profiles, *, config: PhenotypicConsistencyConfig) -> RankedQueries:
    """Rank, for each label of each perturbation, those that share it among those that share none.

    Raises:
        UserError: a missing column, or nothing to rank.
    """
    kept = profiles.select(_not_control(profiles, config))
    if config.perturbation:
        named = kept.column(config.perturbation, purpose="phenotypic consistency") != ""
        kept = consensus(kept.select(named), by=config.perturbation)
    labels = label_sets(kept.column(config.label, purpose="phenotypic consistency"))
    ranked = rank_labels(
        kept.units(),
        labels,
        positive_different=_columns(kept, config.positive_different),
        negative_different=_columns(kept, config.negative_different),
        is_absolute=config.similarity == "absolute-cosine",
    )
    refuse_no_query(ranked, needed=f"a value of `{config.label}` that two perturbations share")
    return ranked


def replicating_rows(profiles: Profiles, *, config: PercentReplicatingConfig) -> list[Row]:
    """One row: the share of groups above the null's percentile for their number of rows.

    Raises:
        UserError: a missing column, or no group with two rows that may be compared.
    """
    names = profiles.column(config.group_by, purpose="percent replicating")
    kept = profiles.select(_not_control(profiles, config) & (names != ""))
    if config.different:
        kept = consensus(kept, by=config.different)
    names = kept.column(config.group_by, purpose="percent replicating")
    units = _correlation_units(kept)
    groups = rows_by_label(names)
    usable = [name for name, rows in groups.items() if len(rows) > 1]
    if not usable:
        raise UserError(
            f"none of the {len(groups)} values of `{config.group_by}` has two rows to compare, but "
            "replicates are needed; give more plates, or another column"
        )
    thresholds = {
        size: np.percentile(
            null_medians(units, list(groups.values()), size=size, config=config), config.percentile
        )
        for size in sorted({len(groups[name]) for name in usable})
    }
    is_above = [_median_correlation(units[groups[name]]) > thresholds[len(groups[name])] for name in usable]
    setting = canonical_setting(
        **config.model_dump(include={"percentile", "null_size", "different", "num_resamples"}),
        similarity="correlation",
        **profiles.settings,
        interval="bootstrap over groups" if config.num_resamples else "none",
    )
    excluded = len(groups) - len(usable)
    return mean_rows(
        {"fraction_matching" if config.different else "fraction_replicating": np.array(is_above)},
        row=Row(REPLICATING, config.group_by, "", setting, excluded=excluded, seed=config.seed),
        num_resamples=config.num_resamples,
    )


def null_medians(
    units_ND: Array, groups: list[Positions], *, size: int, config: PercentReplicatingConfig
) -> Array:
    """Median correlations of random rows, one from each of `size` different groups.

    Every size has draws of its own that depend on the seed and the size only.

    Raises:
        UserError: there are fewer groups than rows to draw.
    """
    if size > len(groups):
        raise UserError(
            f"a group of {size} rows is compared with rows of {size} different groups, but there are "
            f"{len(groups)}; average rows first, or give more groups"
        )
    generator = np.random.default_rng([config.seed, size])
    members = np.concatenate(groups)
    starts = np.concatenate([[0], np.cumsum([len(rows) for rows in groups])])
    pairs = np.triu_indices(size, 1)
    step = max(_CHUNK // (size * max(units_ND.shape[1], size)), 1)
    medians = []
    for chosen in random_subsets(size, len(groups), size=config.null_size, generator=generator):
        for first in range(0, len(chosen), step):
            of_groups = chosen[first : first + step] - 1
            drawn = members[generator.integers(starts[of_groups], starts[of_groups + 1])]
            vectors = units_ND[drawn]
            correlations = vectors @ vectors.transpose(0, 2, 1)
            medians.append(np.median(correlations[:, pairs[0], pairs[1]], axis=1))
    return np.concatenate(medians)


def _median_correlation(units_RD: Array) -> float:
    return float(np.median((units_RD @ units_RD.T)[np.triu_indices(len(units_RD), 1)]))


def _correlation_units(profiles: Profiles) -> Array:
    """Rows whose dot products are Pearson correlations."""
    units, is_constant = unit_rows(profiles.vectors - profiles.vectors.mean(axis=1, keepdims=True))
    if is_constant.any():
        raise UserError(
            f"{profiles.source} holds {int(is_constant.sum())} rows with the same value in every feature "
            f"({profiles.named(is_constant)}), but these have no correlation; remove them"
        )
    return units


def _not_control(profiles: Profiles, config: PhenotypicConsistencyConfig | PercentReplicatingConfig) -> Mask:
    if config.control not in profiles.frame:
        return np.ones(len(profiles), np.bool_)
    found = profiles.column(config.control, purpose="leaving controls out")
    return np.asarray(np.char.lower(found) != config.negative_control.lower(), np.bool_)


def _columns(profiles: Profiles, names: tuple[str, ...]) -> list[Labels]:
    return [profiles.column(name, purpose="the choice of positives and negatives") for name in names]


def _said(config: ActivityConfig | PhenotypicConsistencyConfig, *names: str) -> dict[str, Any]:
    """Settings of these names, tuples as lists."""
    return config.model_dump(mode="json", include={"similarity", *names})
