"""JUMP-CP benchmarks: perturbation detection, sibling retrieval, gene-compound matching.

Kraus et al. (2024), tables 4, 8 and 9, and the CPJUMP1 benchmark of Chandrasekaran et al. (2024); definitions
in science.md 8.8. Rows: `fraction_retrieved`, the share of perturbations, targets or genes with q below the
false discovery rate, and `mean_average_precision`, the mean over them of the mean over their queries.
Intervals resample them, with the decisions as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from phenoscale.benchmarks.mean_rows import mean_rows
from phenoscale.benchmarks.profiles.average_precision import JudgedGroups, RankedQueries, judge
from phenoscale.benchmarks.profiles.config import (
    JumpColumns,
    JumpConfig,
    JumpDetectionConfig,
    JumpMatchingConfig,
    JumpSiblingsConfig,
    Significance,
)
from phenoscale.benchmarks.profiles.profile_tables import (
    Profiles,
    consensus,
    join_profiles,
    label_sets,
    negative_controls,
    read_targets,
)
from phenoscale.benchmarks.profiles.rankings import PairRule, rank_labels, rank_rows
from phenoscale.errors import UserError
from phenoscale.schema.rows import Row, canonical_setting

DETECTION, SIBLINGS, MATCHING = "jump_detection", "jump_siblings", "jump_gene_compound"


def detection_rows(profiles: Profiles, *, config: JumpDetectionConfig) -> list[Row]:
    """Perturbation detection on the plates of one condition."""
    judged = judge(rank_replicates(profiles, columns=config.columns), significance=config)
    return _rows(
        judged, config=config, benchmark=DETECTION, settings={"similarity": "cosine", **profiles.settings}
    )


def sibling_rows(profiles: Profiles, *, config: JumpSiblingsConfig) -> list[Row]:
    """Sibling retrieval among the detected perturbations of one condition."""
    kept = detected_consensus(profiles, columns=config.columns, significance=config)
    if config.siblings == "guides":
        ranked = rank_guides(kept, columns=config.columns)
    else:
        ranked = rank_compounds(with_targets(kept, place=config.targets, columns=config.columns),
                                columns=config.columns)  # fmt: skip
    settings = {
        "similarity": "cosine" if config.siblings == "guides" else "absolute-cosine",
        "siblings": config.siblings,
        "num_detected": len(kept),
        **kept.settings,
    }
    return _rows(judge(ranked, significance=config), config=config, benchmark=SIBLINGS, settings=settings)


def matching_rows(compounds: Profiles, *, genes: Profiles, config: JumpMatchingConfig) -> list[Row]:
    """Gene-compound matching of the detected perturbations of two conditions."""
    columns = config.columns
    compounds, guides = (
        detected_consensus(each, columns=columns, significance=config) for each in (compounds, genes)
    )
    compounds = with_targets(compounds, place=config.targets, columns=columns)
    ranked = rank_modalities(compounds, guides, columns=columns)
    settings = {
        "similarity": "absolute-cosine",
        "num_detected": len(compounds) + len(guides),
        **join_profiles(compounds, guides).settings,
    }
    return _rows(judge(ranked, significance=config), config=config, benchmark=MATCHING, settings=settings)


def rank_replicates(profiles: Profiles, *, columns: JumpColumns) -> RankedQueries:
    """Replicates of a perturbation on any plate, against the negative controls of the query's plate.

    Raises:
        UserError: no negative control, also on one plate only, or no perturbation with two replicates.
    """
    is_control = negative_controls(profiles, column=columns.control, value=columns.negative_control)
    plates = profiles.column(columns.plate, purpose="the choice of negative controls")
    bare = sorted(set(plates.tolist()) - set(plates[is_control].tolist()))
    if bare:
        raise UserError(
            f"the plates {bare[:5]} have no negative control, but each well is compared with those of its "
            "plate; leave these plates out, or name the value that marks negative controls"
        )
    names = profiles.column(columns.perturbation, purpose="perturbation detection")
    is_query = ~is_control & (names != "")
    ranked = rank_rows(
        profiles.units(),
        names,
        is_query=is_query,
        positives=PairRule(same=[names], different=[], is_candidate=is_query),
        negatives=PairRule(same=[plates], different=[], is_candidate=is_control),
    )
    refuse_no_query(ranked, needed=f"a perturbation (`{columns.perturbation}`) with two replicates")
    return ranked


def detected_consensus(profiles: Profiles, *, columns: JumpColumns, significance: Significance) -> Profiles:
    """Median profiles of the detected perturbations, without negative controls.

    Detection is always by the geometric mean and ge, whatever the step after it uses, as in the published
    numbers.

    Raises:
        UserError: what `rank_replicates` refuses, or fewer than two are detected.
    """
    published = significance.model_copy(update={"p_values": "geometric-mean", "ties": "ge"})
    judged = judge(rank_replicates(profiles, columns=columns), significance=published)
    names = judged.names[judged.is_retrieved]
    if len(names) < 2:
        raise UserError(
            f"{len(names)} of {len(judged.names)} perturbations of {profiles.source} are detected, but "
            "siblings are retrieved among detected ones; give more replicate plates"
        )
    found = profiles.column(columns.perturbation, purpose="the consensus")
    is_control = negative_controls(profiles, column=columns.control, value=columns.negative_control)
    return consensus(profiles.select(np.isin(found, names) & ~is_control), by=columns.perturbation)


def with_targets(compounds: Profiles, *, place: str, columns: JumpColumns) -> Profiles:
    """Compounds with their targets: their own column, or that of a table.

    Raises:
        UserError: what `read_targets` refuses.
    """
    if not place and columns.targets in compounds.frame:
        return compounds
    table = read_targets(place, beside=compounds.source, column=columns.targets)
    names = compounds.column(columns.perturbation, purpose="targets of compounds").tolist()
    return compounds.with_column(columns.targets, [table.get(name, "") for name in names])


def rank_compounds(compounds: Profiles, *, columns: JumpColumns) -> RankedQueries:
    """For each target of each compound: compounds that share it, against those that share none."""
    targets = label_sets(compounds.column(columns.targets, purpose="sibling retrieval"))
    ranked = rank_labels(compounds.units(), targets, is_absolute=True)
    refuse_no_query(ranked, needed=f"a target (`{columns.targets}`) of two detected compounds")
    return ranked


def rank_guides(guides: Profiles, *, columns: JumpColumns) -> RankedQueries:
    """Guides of the same gene against guides of other genes; a gene with one detected guide has no query."""
    genes = label_sets(guides.column(columns.gene, purpose="sibling retrieval of guides"), separator="")
    ranked = rank_labels(guides.units(), genes)
    refuse_no_query(ranked, needed=f"a gene (`{columns.gene}`) of two detected guides")
    return ranked


def rank_modalities(compounds: Profiles, genes: Profiles, *, columns: JumpColumns) -> RankedQueries:
    """For each target of each profile: profiles of the other modality with it, against those without.

    Profiles of the same modality are neither; the features that both have are compared.

    Raises:
        UserError: no feature in common, or no gene that is a target of a compound.
    """
    labels = [
        *label_sets(compounds.column(columns.targets, purpose="gene-compound matching")),
        *label_sets(genes.column(columns.gene, purpose="gene-compound matching"), separator=""),
    ]
    both = join_profiles(compounds, genes)
    modality = np.repeat(["compound", "gene"], [len(compounds), len(genes)])
    ranked = rank_labels(
        both.units(),
        labels,
        positive_different=[modality],
        negative_different=[modality],
        is_absolute=True,
    )
    refuse_no_query(ranked, needed="a detected gene that is a target of a detected compound")
    return ranked


def retrieval_rows(
    judged: JudgedGroups, *, significance: Significance, benchmark: str, source: str, settings: dict[str, Any]
) -> list[Row]:
    """The share of groups that are retrieved, and their mean average precision, with bootstrap intervals."""
    shared = {
        **significance.model_dump(include=set(Significance.model_fields) - {"num_resamples", "seed"}),
        "interval": "bootstrap over groups" if significance.num_resamples else "none",
        "num_resamples": significance.num_resamples,
        **settings,
    }
    if significance.p_values == "geometric-mean":
        del shared["null_rows"]  # means nothing there
    setting = canonical_setting(**shared)
    return mean_rows(
        {
            "fraction_retrieved": judged.is_retrieved,
            "mean_average_precision": judged.mean_average_precision,
        },
        row=Row(benchmark, source, "", setting, excluded=judged.num_excluded, seed=significance.seed),
        num_resamples=significance.num_resamples,
    )


def _rows(judged: JudgedGroups, *, config: JumpConfig, benchmark: str, settings: dict[str, Any]) -> list[Row]:
    said = config.model_dump(include={"dataset", "cell_type", "perturbation_type", "timepoint_h"})
    return retrieval_rows(
        judged,
        significance=config,
        benchmark=benchmark,
        source=config.dataset,
        settings={**{name: value for name, value in said.items() if value}, **settings},
    )


def refuse_no_query(ranked: RankedQueries, *, needed: str) -> None:
    """Refuse rankings of which none has a positive and a negative."""
    if not len(ranked):
        raise UserError(
            f"none of the {len(ranked.groups)} groups has both a positive and a negative, but {needed} is "
            "needed; give more plates, or check the columns"
        )
