"""Perturbation signal consistency: mean pairwise cosine of a perturbation's wells against a null.

EFAAR (Celik et al. 2024, doi:10.1371/journal.pcbi.1012463), science.md 8.3. The null of random wells is a
permutation test: with no effect at all the wells of a batch are exchangeable, so the p-values are valid. One
null serves all perturbations of a size (or of the same numbers of wells per batch). Published p-values come
from perturbations that do nothing, do not count the value in, and so can be 0; they depend on those
perturbations having as many wells as the others.

On 100 null screens (tests/benchmarks/test_calibration.py; .05 is right) p < .05 for .049 to .051 of the
perturbations against random wells of the same experiments, raw or corrected, and for .047 to .048 without
--match on corrected wells; on raw wells without --match for none. With 40 unexpressed genes as null .048 to
.054 have p < .05 and none q < .05; of the published p-values .022 to .028 are exactly 0, so that q = 0 in 69
to 75 of the 100 screens.
Shapes: N wells, D dimensions, G perturbations, B draws.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from phenoscale.benchmarks.wells.config import SignalConsistencyConfig
from phenoscale.benchmarks.wells.tested_wells import (
    null_perturbations,
    summary_rows,
    tested_wells,
    write_tables,
)
from phenoscale.errors import UserError
from phenoscale.mapping.batches import EVERYTHING, batch_labels
from phenoscale.schema.columns import Embeddings
from phenoscale.schema.embeddings import EmbeddingTable
from phenoscale.schema.rows import Row
from phenoscale.stats.mean_cosines import (
    Directions,
    DrawRows,
    GroupCosines,
    directions,
    draw_distinct,
    group_mean_cosines,
    null_mean_cosines,
)
from phenoscale.stats.p_values import published_upper_p_values, q_values, upper_p_values

Array = npt.NDArray[np.float64]
Positions = npt.NDArray[np.intp]
Signature = tuple[tuple[int, int], ...]
"""How many wells of each batch: (batch, wells) pairs, sorted."""

VERB = "benchmark signal-consistency"


@dataclass(frozen=True)
class SignalScores:
    """One value per perturbation.

    Attributes:
        names: [G] labels, sorted.
        num_wells: [G] wells that count (zero vectors do not).
        value: [G] mean pairwise cosine, or energy distance.
        p: [G] p-values, never 0; NaN where the perturbation has too few wells or belongs to the null.
        published_p: [G] the p-value as published, which can be 0; None where the null is our own.
        num_zero: wells left out because their vector is zero.
    """

    names: npt.NDArray[np.str_]
    num_wells: Positions
    value: Array
    p: Array
    published_p: Array | None = None
    num_zero: int = 0

    @property
    def q(self) -> Array:
        """[G] after Benjamini-Hochberg over the perturbations that have a p-value."""
        return q_values(self.p)


def signal_consistency_rows(table: EmbeddingTable, *, config: SignalConsistencyConfig) -> list[Row]:
    """Shares of significant perturbations and the median mean cosine, in every stratum.

    Raises:
        UserError: no perturbation has enough wells, or no perturbation of the null is in the table.
    """
    nothing = null_perturbations(config, verb=VERB) if config.null == "control_perturbations" else frozenset()
    rows, tables = [], []
    for wells in tested_wells(table):
        labels = batch_labels(
            wells.frame, config.match, needed_by=f"match: {config.match}", way_out="set match: none"
        )
        batches = None if config.match == "none" else np.unique(labels, return_inverse=True)[1]
        is_null = wells.groups["perturbation"].isin(sorted(nothing)).to_numpy()
        scores = signal_scores(
            wells.embeddings,
            wells.codes,
            names_G=wells.groups["perturbation"].astype(str).to_numpy(dtype=np.str_),
            is_null_G=is_null,
            batches_N=batches,
            config=config,
        )
        kept = wells.groups.assign(**wells.stratum)[~is_null]
        tables.append(_table(kept, scores, rows=np.flatnonzero(~is_null)))
        shared = {
            **_described(config, num_null_groups=int(is_null.sum())),
            **wells.stratum,
        }
        if scores.num_zero:
            shared["zero_wells"] = scores.num_zero
        rows += summary_rows(
            tables[-1], metric="mean_cosine", benchmark="signal_consistency", settings=shared, config=config
        )
    write_tables(config.output, tables)
    return rows


def signal_scores(
    embeddings_ND: Embeddings,
    codes_N: Positions,
    *,
    names_G: npt.NDArray[np.str_],
    is_null_G: npt.NDArray[np.bool_],
    batches_N: Positions | None,
    config: SignalConsistencyConfig,
) -> SignalScores:
    """Mean cosine and p-value of every perturbation under test, of arrays."""
    vectors = directions(embeddings_ND)
    found = group_mean_cosines(vectors, codes_N, num_groups=len(names_G))
    p, published = _p_values(
        vectors, codes_N, found=found, is_null_G=is_null_G, batches_N=batches_N, config=config
    )
    num_zero = int((vectors.is_zero & (codes_N >= 0)).sum())
    return SignalScores(names_G, found.count, found.mean, p, published, num_zero)


def _p_values(
    vectors: Directions,
    codes_N: Positions,
    *,
    found: GroupCosines,
    is_null_G: npt.NDArray[np.bool_],
    batches_N: Positions | None,
    config: SignalConsistencyConfig,
) -> tuple[Array, Array | None]:
    """(p, published p) of every group; NaN for groups that are too small or belong to the null."""
    usable = (found.count >= config.min_wells) & ~is_null_G
    if not usable.any():
        raise UserError(
            f"no perturbation has {config.min_wells} wells with a direction (the most is "
            f"{int(found.count.max(initial=0))}), but signal consistency compares wells of one perturbation; "
            "embed more replicates"
        )
    value = np.where(usable, found.mean, np.nan)
    if config.null == "control_perturbations":
        null = found.mean[is_null_G & (found.count >= config.min_wells)]
        refuse_empty_null(null, min_wells=config.min_wells)
        return upper_p_values(value, null_B=null), published_upper_p_values(value, null_B=null)
    kept = np.flatnonzero((codes_N >= 0) & ~vectors.is_zero)
    generator = np.random.default_rng(config.seed)
    p = np.full(len(value), np.nan)
    for sizes, groups, draw in _draws(
        codes_N, kept=kept, usable_G=usable, batches_N=batches_N, generator=generator
    ):
        nulls = null_mean_cosines(vectors, draw, sizes=sizes, num_draws=config.num_null)
        for null, members in zip(nulls, groups, strict=True):
            p[members] = upper_p_values(value[members], null_B=null)
    return p, None


def refuse_empty_null(null_B: Array, *, min_wells: int) -> None:
    """Refuse to compare with perturbations that are not there."""
    if not len(null_B):
        raise UserError(
            f"none of the perturbations that do nothing has {min_wells} wells in the table, but they are the "
            "null; name others, or choose a null that is drawn"
        )


def _draws(
    codes_N: Positions,
    *,
    kept: Positions,
    usable_G: npt.NDArray[np.bool_],
    batches_N: Positions | None,
    generator: np.random.Generator,
) -> list[tuple[list[int], list[Positions], DrawRows]]:
    """What shares a null: (sizes, the groups of each size, how rows are drawn).

    Without batches one draw of the largest size serves all sizes; with batches every combination of batches
    and wells has its own.
    """
    if batches_N is None:
        counts = np.bincount(codes_N[kept], minlength=len(usable_G))
        sizes = np.unique(counts[usable_G])
        groups = [np.flatnonzero(usable_G & (counts == size)) for size in sizes]
        return [(sizes.tolist(), groups, _draw_from([(kept, int(sizes[-1]))], generator=generator))]
    pools = {int(batch): kept[batches_N[kept] == batch] for batch in np.unique(batches_N[kept])}
    signatures: dict[Signature, list[int]] = {}
    for group, signature in _signatures(codes_N[kept], batches_N[kept]).items():
        if usable_G[group]:
            signatures.setdefault(signature, []).append(group)
    return [
        (
            [sum(number for _, number in signature)],
            [np.array(members, np.intp)],
            _draw_from([(pools[batch], number) for batch, number in signature], generator=generator),
        )
        for signature, members in sorted(signatures.items())
    ]


def _signatures(codes: Positions, batches: Positions) -> dict[int, Signature]:
    """How many wells each group has in each batch."""
    counted: dict[int, list[tuple[int, int]]] = {}
    pairs = Counter(zip(codes.tolist(), batches.tolist(), strict=True))
    for (group, batch), number in sorted(pairs.items()):
        counted.setdefault(group, []).append((batch, number))
    return {group: tuple(entries) for group, entries in counted.items()}


def _draw_from(parts: list[tuple[Positions, int]], *, generator: np.random.Generator) -> DrawRows:
    """Draw so many rows of each pool without replacement."""

    def draw(num_draws: int) -> Positions:
        drawn = [
            draw_distinct(pool, size=size, num_draws=num_draws, generator=generator) for pool, size in parts
        ]
        return np.concatenate(drawn, axis=1)

    return draw


def _described(config: SignalConsistencyConfig, *, num_null_groups: int) -> dict[str, Any]:
    described: dict[str, Any] = {"null": config.null, "ties": "ge", "min_wells": config.min_wells}
    if config.null == "control_perturbations":
        return {**described, "num_null": num_null_groups}
    batch = EVERYTHING if config.match == "none" else config.match
    return {**described, "num_null": config.num_null, "match": batch}


def _table(groups: pd.DataFrame, scores: SignalScores, *, rows: Positions) -> pd.DataFrame:
    p = scores.p[rows]
    table = groups.assign(
        num_wells=scores.num_wells[rows], mean_cosine=scores.value[rows], p=p, q=q_values(p)
    )
    if scores.published_p is not None:
        table = table.assign(published_p=scores.published_p[rows])
    return table.reset_index(drop=True)
