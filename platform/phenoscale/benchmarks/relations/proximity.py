"""Proximity bias: the probability that genes of one chromosome arm are more alike than those of two.

Cas9 can lose the rest of an arm, so that knock-outs of one arm look alike whatever the genes do (Lazar et
al., Nature Genetics 2024). That paper's code runs 200 Brunner-Munzel tests of 500 drawn pairs and combines
their p-values by Fisher's method, which takes the tests for independent although they draw from the same
genes. Here the effect itself is reported, P(inside > across) + P(equal) / 2, the number that Brunner and
Munzel test against one half, with an interval from resampling genes: pairs of one gene move together.
Shapes: N genes, D dimensions, P pairs inside an arm and P across, B resamples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from phenoscale.benchmarks.relations.config import ProximityConfig
from phenoscale.benchmarks.relations.recall import under_test, with_directions
from phenoscale.errors import UserError
from phenoscale.mapping.genes import arms_of
from phenoscale.schema.maps import PerturbationMap
from phenoscale.schema.rows import Row, canonical_setting
from phenoscale.stats.cosines import unit_rows
from phenoscale.stats.intervals import percentile_interval, resample_counts

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]
Positions = npt.NDArray[np.intp]


def proximity_rows(
    perturbation_map: PerturbationMap, *, genes: Mapping[str, str], config: ProximityConfig
) -> list[Row]:
    """The score of each stratum of a map, first of all arms and then of each arm; zero vectors are left out.

    Args:
        perturbation_map: the map.
        genes: arm of each gene.
        config: how many pairs and genes.

    Raises:
        UserError: fewer than two arms with enough genes.
    """
    rows: list[Row] = []
    for stratum, everything in under_test(perturbation_map).by_stratum():
        part = with_directions(everything)
        labels = arms_of(part, dict(genes))
        names, counts = np.unique(labels[labels != ""], return_counts=True)
        kept = np.isin(labels, names[counts >= config.min_genes])
        if len(np.unique(labels[kept])) < 2:
            raise UserError(
                f"proximity bias needs two arms with at least {config.min_genes} genes, but the "
                f"{len(part)} perturbations have {dict(zip(names.tolist(), counts.tolist(), strict=True))}; "
                "map more genes, lower min_genes, or check that both use the same gene symbols"
            )
        units_ND, _ = unit_rows(part.embeddings[kept])
        codes = np.unique(labels[kept], return_inverse=True)[1]
        setting = canonical_setting(
            chance=0.5,
            **({"interval": "genes"} if config.num_resamples else {}),
            max_pairs=config.max_pairs,
            min_genes=config.min_genes,
            **stratum,
        )
        scored = _score(units_ND, codes, names=np.unique(labels[kept]), config=config)
        rows += [
            replace(row, setting=setting, excluded=len(everything) - int(kept.sum()), seed=config.seed)
            for row in scored
        ]
    return rows


def probability_above(first_n: Array, second_m: Array, *, weights_Bn: Floats, weights_Bm: Floats) -> Array:
    """P(first > second) + P(equal) / 2 under each set of weights, [B]; NaN if a sample has no weight."""
    order = np.argsort(second_m, kind="stable")
    left = np.searchsorted(second_m[order], first_n, side="left")
    right = np.searchsorted(second_m[order], first_n, side="right")
    found = np.full(len(weights_Bn), np.nan)
    below = np.zeros(len(second_m) + 1)
    for index, (first, second) in enumerate(zip(weights_Bn, weights_Bm, strict=True)):
        np.cumsum(second[order], out=below[1:])
        mass = first.sum() * below[-1]
        if mass > 0:
            found[index] = first @ (below[left] + below[right]) / 2 / mass
    return found


def _score(units_ND: Array, codes_N: Positions, *, names: Any, config: ProximityConfig) -> list[Row]:
    generator = np.random.default_rng(config.seed)
    drawn_BN = resample_counts(len(codes_N), num_resamples=config.num_resamples, generator=generator)
    counts_BN = drawn_BN.astype(np.float32)
    inside = _pairs_inside(codes_N, limit=config.max_pairs, generator=generator)
    across = _pairs_across(codes_N, number=config.max_pairs, generator=generator)
    rows = [_row("arms", (inside, across), units_ND=units_ND, counts_BN=counts_BN)]
    for code, name in enumerate(names.tolist()):
        of_arm = np.flatnonzero(codes_N == code)
        if len(of_arm) * (len(of_arm) - 1) // 2 < config.min_pairs:
            continue
        own = _pairs_inside(np.where(codes_N == code, 0, -1), limit=config.max_pairs, generator=generator)
        others = np.flatnonzero(codes_N != code)
        number = min(config.max_pairs, len(of_arm) * len(others))
        drawn = np.stack([generator.choice(each, number) for each in (of_arm, others)], axis=1)
        rows.append(_row(name, (own, drawn), units_ND=units_ND, counts_BN=counts_BN))
    return rows


def _row(source: str, pairs: tuple[Positions, Positions], *, units_ND: Array, counts_BN: Floats) -> Row:
    first, second = (np.einsum("pd,pd->p", units_ND[each[:, 0]], units_ND[each[:, 1]]) for each in pairs)
    # Row 0 is the map as it is, the others are resamples of its genes.
    counts = np.concatenate([np.ones((1, counts_BN.shape[1]), np.float32), counts_BN])
    inside, across = (counts[:, each[:, 0]] * counts[:, each[:, 1]] for each in pairs)
    found = probability_above(first, second, weights_Bn=inside, weights_Bm=across)
    estimate = percentile_interval(float(found[0]), resampled_B=found[1:])
    return Row(
        "proximity_bias",
        source,
        "probability_above",
        **estimate.as_fields,
        n=len(pairs[0]),
    )


def _pairs_inside(codes_N: Positions, *, limit: int, generator: np.random.Generator) -> Positions:
    """All pairs of genes of one arm, or `limit` drawn with replacement; codes below 0 belong to none."""
    members = [np.flatnonzero(codes_N == code) for code in np.unique(codes_N[codes_N >= 0])]
    sizes = np.array([len(each) * (len(each) - 1) // 2 for each in members])
    if sizes.sum() <= limit:
        return np.concatenate([each[np.stack(np.triu_indices(len(each), 1), axis=1)] for each in members])
    drawn = []
    for each, number in zip(members, generator.multinomial(limit, sizes / sizes.sum()), strict=True):
        first = generator.integers(0, len(each), number)
        second = (first + generator.integers(1, len(each), number)) % len(each)
        drawn.append(np.stack([each[first], each[second]], axis=1))
    return np.concatenate(drawn)


def _pairs_across(codes_N: Positions, *, number: int, generator: np.random.Generator) -> Positions:
    """Pairs of genes of different arms, drawn with replacement."""
    found: list[Positions] = []
    missing = number
    while missing:
        pairs = generator.integers(0, len(codes_N), (2 * missing, 2)).astype(np.intp)
        pairs = pairs[codes_N[pairs[:, 0]] != codes_N[pairs[:, 1]]][:missing]
        found.append(pairs)
        missing -= len(pairs)
    return np.concatenate(found)
