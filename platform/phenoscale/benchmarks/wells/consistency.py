"""Replicate consistency: cosines between replicates of a perturbation against those between perturbations.

ViTally Consistent (2025), science.md 8.2: two-sample Kolmogorov-Smirnov and un-normalized Cramer-von Mises
statistics, pooled over all pairs and as the mean over perturbations. The null is matched in size and, pair by
pair, in its anchor: the same replicate is compared with a replicate of another perturbation. Sample sizes are
in each row. Pooled intervals resample perturbations and are centered on the value: a resample holds pairs
twice, so both statistics are larger in it. The statistics are distances and no tests: a vector is in many
pairs. Read as a test of independent samples, pooled KS has p < .05 in 10 of 100 null screens after centering
by plate, and in all of them before, where strangers come from any experiment
(tests/benchmarks/test_calibration.py).
Shapes: R replicates, P pairs, B resamples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from phenoscale.benchmarks.mean_rows import mean_rows
from phenoscale.benchmarks.wells.config import ConsistencyConfig
from phenoscale.errors import UserError
from phenoscale.mapping.batches import batch_labels, flags, negative_controls, rows_by_label
from phenoscale.mapping.steps.aggregate import average, stratum_names
from phenoscale.schema.embeddings import EmbeddingTable
from phenoscale.schema.maps import STRATA
from phenoscale.schema.readable import listed_columns
from phenoscale.schema.rows import (
    CONSISTENCY,
    CVM_MEAN,
    CVM_POOLED,
    KS_MEAN,
    KS_POOLED,
    Row,
    canonical_setting,
)
from phenoscale.stats.cosines import unit_rows
from phenoscale.stats.intervals import centered_interval, resample_counts
from phenoscale.stats.two_sample import cvm_statistic, ks_statistic, resampled_statistics

Array = npt.NDArray[np.float64]
Positions = npt.NDArray[np.intp]
_DRAWS = 20


@dataclass(frozen=True)
class Replicates:
    """Replicate vectors of unit length, with the perturbation and the batch of each.

    Attributes:
        units: [R, D].
        perturbation: [R] codes 0 .. number of perturbations - 1, one per stratum and concentration.
        label: [R] codes of the names alone: another concentration of a compound is no other perturbation.
        stratum: [R] codes of cell type and time point; replicates of different ones are not compared.
        batch: [R] codes; replicates of one batch are not compared; all different when any may be.
        num_dropped: wells that are no perturbation under test.
        num_zero: replicates left out because their vector is zero, so without direction.
    """

    units: Array
    perturbation: Positions
    label: Positions
    stratum: Positions
    batch: Positions
    num_dropped: int
    num_zero: int


@dataclass(frozen=True)
class PairedCosines:
    """Cosines of replicate pairs and of their matched null pairs.

    Attributes:
        same: [P] cosines between replicates of one perturbation.
        different: [P] cosines between each pair's first member and a replicate of another perturbation.
        perturbation: [P] code of the pair's perturbation.
        num_without_null: pairs left out because no replicate of another perturbation was found.
    """

    same: Array
    different: Array
    perturbation: Positions
    num_without_null: int


def consistency_rows(table: EmbeddingTable, *, config: ConsistencyConfig) -> list[Row]:
    """KS and CvM, pooled and per perturbation.

    Raises:
        UserError: no perturbation column, no well under test, no vector with a direction, no perturbation
            with two comparable replicates, or no second perturbation for the null.
    """
    replicates = find_replicates(table, replicate=config.replicate, across=config.across)
    generator = np.random.default_rng(config.seed)
    pairs = draw_pairs(replicates, limit=config.max_pairs_per_perturbation, generator=generator)
    if not len(pairs.same):
        raise _nothing_to_compare(replicates, pairs, config=config)
    shared: dict[str, Any] = {"replicate": config.replicate, "across": config.across}
    if replicates.num_zero:
        shared["zero_vectors"] = replicates.num_zero
    rows = _pooled_rows(pairs, config=config, shared=shared, generator=generator)
    return [*rows, *_mean_rows(pairs, replicates, config=config, shared=shared)]


def find_replicates(table: EmbeddingTable, *, replicate: str, across: str) -> Replicates:
    """The replicates of the perturbations under test; guides are means of their wells in each batch."""
    frame = table.frame
    if "perturbation" not in frame:
        raise UserError(
            f"the embeddings have {listed_columns(frame.columns)}, but replicates need `perturbation`; "
            "embed a "
            "table that names the perturbation of each well"
        )
    named = (frame["perturbation"].fillna("").astype(str) != "").to_numpy()
    tested = named & ~negative_controls(frame) & ~flags(frame, "is_positive_control")
    kept = table.select(tested)
    labels = kept.frame["perturbation"].astype(str).to_numpy(dtype=str)
    strata = np.array(stratum_names(kept.frame, tuple(name for name in STRATA if name in kept.frame)))
    names = [labels, strata]
    if "concentration_um" in kept.frame:
        names.append(kept.frame["concentration_um"].astype(str).fillna("").to_numpy(dtype=str))
    batch = batch_labels(
        kept.frame, "none" if across == "any" else across, needed_by=f"across: {across}",
        way_out="set across: any",
    )  # fmt: skip
    vectors, codes = kept.embeddings, _codes(names)
    if replicate == "guide":
        if "guide" not in kept.frame:
            raise UserError("the embeddings have no `guide` column, so guides are no replicates; use wells")
        guides = kept.frame["guide"].fillna("").astype(str).to_numpy(dtype=str)
        members = _codes([*names, batch, guides])
        vectors = average(vectors, codes_N=members, method="mean")
        first = np.unique(members, return_index=True)[1]
        codes, batch, labels, strata = codes[first], batch[first], labels[first], strata[first]
    units, is_zero = unit_rows(vectors)
    usable = ~is_zero
    batch_codes = np.arange(len(units)) if across == "any" else np.unique(batch, return_inverse=True)[1]
    return Replicates(
        units=units[usable],
        perturbation=codes[usable],
        label=_codes([labels])[usable],
        stratum=_codes([strata])[usable],
        batch=batch_codes.astype(np.intp)[usable],
        num_dropped=int((~tested).sum()),
        num_zero=int(is_zero.sum()),
    )


def draw_pairs(replicates: Replicates, *, limit: int, generator: np.random.Generator) -> PairedCosines:
    """All pairs of each perturbation's replicates (at most `limit`, drawn), each with one null pair."""
    first, second = [], []
    labels = replicates.perturbation.astype(str)
    for rows in rows_by_label(labels).values():
        upper = np.stack(np.triu_indices(len(rows), 1), axis=1)
        pairs = rows[upper]
        pairs = pairs[replicates.batch[pairs[:, 0]] != replicates.batch[pairs[:, 1]]]
        if len(pairs) > limit:
            pairs = pairs[np.sort(generator.choice(len(pairs), limit, replace=False))]
        first.append(pairs[:, 0])
        second.append(pairs[:, 1])
    if not first:
        return PairedCosines(np.empty(0), np.empty(0), np.empty(0, np.intp), 0)
    anchor, partner = np.concatenate(first), np.concatenate(second)
    stranger = _strangers(replicates, anchor, generator=generator)
    usable = stranger >= 0
    anchor, partner, stranger = anchor[usable], partner[usable], stranger[usable]
    same = np.einsum("pd,pd->p", replicates.units[anchor], replicates.units[partner])
    different = np.einsum("pd,pd->p", replicates.units[anchor], replicates.units[stranger])
    return PairedCosines(same, different, replicates.perturbation[anchor], int((~usable).sum()))


def _strangers(replicates: Replicates, anchor_P: Positions, *, generator: np.random.Generator) -> Positions:
    """A replicate of another perturbation (and batch) in the stratum of each; -1 where none was found."""
    found = np.full(len(anchor_P), -1, np.intp)
    order = np.argsort(replicates.stratum, kind="stable")
    sizes = np.bincount(replicates.stratum)
    starts = np.cumsum(sizes) - sizes
    for _ in range(_DRAWS):
        open_ = np.flatnonzero(found < 0)
        if not len(open_):
            break
        strata = replicates.stratum[anchor_P[open_]]
        drawn = order[starts[strata] + generator.integers(0, sizes[strata])]
        fits = replicates.label[drawn] != replicates.label[anchor_P[open_]]
        fits &= replicates.batch[drawn] != replicates.batch[anchor_P[open_]]
        found[open_[fits]] = drawn[fits]
    return found


def _nothing_to_compare(
    replicates: Replicates, pairs: PairedCosines, *, config: ConsistencyConfig
) -> UserError:
    """Why there is no pair."""
    if not len(replicates.units) and not replicates.num_zero:
        return UserError(
            f"none of the {replicates.num_dropped} wells is a perturbation under test, but replicates are "
            "compared; check the columns perturbation, is_negative_control and is_positive_control"
        )
    if not len(replicates.units):
        return UserError(
            f"the vectors of all {replicates.num_zero} {config.replicate}s are zero, but a zero vector has "
            "no cosine; check the encoder or the map that wrote them"
        )
    if pairs.num_without_null:
        names = len(np.unique(replicates.label))
        return UserError(
            f"none of the {pairs.num_without_null} pairs of replicates has a {config.replicate} of another "
            f"perturbation as its null (perturbations under test: {names}, across: {config.across}); give "
            "wells of at least two perturbations for each cell type and time point"
        )
    way_out = "embed more replicates"
    if config.across != "any":
        way_out = "choose another replicate, or across: any"
    return UserError(
        f"no perturbation has two {config.replicate}s to compare (across: {config.across}), but replicate "
        f"consistency needs them; {way_out}"
    )


def _pooled_rows(
    pairs: PairedCosines,
    *,
    config: ConsistencyConfig,
    shared: Mapping[str, Any],
    generator: np.random.Generator,
) -> list[Row]:
    size = min(len(pairs.same), config.max_pairs)
    chosen = np.sort(generator.choice(len(pairs.same), size, replace=False))
    same, different, owner = pairs.same[chosen], pairs.different[chosen], pairs.perturbation[chosen]
    members, position = np.unique(owner, return_inverse=True)
    counts = resample_counts(len(members), num_resamples=config.num_resamples, generator=generator)
    weights = counts[:, position].astype(np.float64)
    resampled = resampled_statistics(same, different, weights_Bn=weights, weights_Bm=weights)
    setting = canonical_setting(n=size, m=size, interval="perturbations, centered", **shared)
    rows = []
    for metric, value, draws, highest in (
        (KS_POOLED, ks_statistic(same, different), resampled[0], 1.0),
        (CVM_POOLED, cvm_statistic(same, different), resampled[1], np.inf),
    ):
        estimate = centered_interval(value, resampled_B=draws, highest=highest)
        rows.append(
            Row(
                benchmark=CONSISTENCY,
                source="replicates",
                metric=metric,
                setting=setting,
                **estimate.as_fields,
                n=size,
                excluded=len(pairs.same) - size + pairs.num_without_null,
                seed=config.seed,
            )
        )
    return rows


def _mean_rows(
    pairs: PairedCosines, replicates: Replicates, *, config: ConsistencyConfig, shared: Mapping[str, Any]
) -> list[Row]:
    by_owner = rows_by_label(pairs.perturbation.astype(str))
    usable = [rows for rows in by_owner.values() if len(rows) >= config.min_pairs_per_perturbation]
    sizes = [len(rows) for rows in usable] or [0]
    setting = canonical_setting(n=[min(sizes), max(sizes)], m=[min(sizes), max(sizes)], **shared)
    num_perturbations = len(np.unique(replicates.perturbation))
    excluded = num_perturbations - len(usable)
    return mean_rows(
        {
            metric: np.array([statistic(pairs.same[rows], pairs.different[rows]) for rows in usable])
            for metric, statistic in ((KS_MEAN, ks_statistic), (CVM_MEAN, cvm_statistic))
        },
        row=Row(CONSISTENCY, "replicates", "", setting, excluded=excluded, seed=config.seed),
        num_resamples=config.num_resamples,
    )


def _codes(columns: list[npt.NDArray[np.str_]]) -> Positions:
    """One code for each combination of labels."""
    factors = np.stack([np.unique(column, return_inverse=True)[1] for column in columns], axis=1)
    return np.unique(factors, axis=0, return_inverse=True)[1].reshape(-1).astype(np.intp)
