"""Perturbation signal magnitude: energy distance of a perturbation's wells to the negative controls.

EFAAR (Celik et al. 2024, doi:10.1371/journal.pcbi.1012463), science.md 8.4, with V-statistics. These shrink
with the sizes of both samples, so the null of control subsets compares as many controls with the controls
that remain, and the perturbation with equally many controls. Published p-values come from perturbations that
do nothing, count strictly larger ones only, do not count the value in, and so can be 0.

The null of control subsets needs wells that are corrected like the controls. On 100 null screens p < .05 for
.051 of the perturbations after centering each plate on all its wells, but for .289 after centering and TVN
fitted on the controls (48 a plate, 24 components), which are then closer to each other than any other well
is: 79 of the screens have a false discovery (tests/benchmarks/test_calibration.py).
Shapes: N wells, D dimensions, G perturbations, M controls.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from phenoscale.benchmarks.wells.config import SignalMagnitudeConfig
from phenoscale.benchmarks.wells.control_fit import control_fit
from phenoscale.benchmarks.wells.signal import SignalScores, refuse_empty_null
from phenoscale.benchmarks.wells.tested_wells import (
    null_perturbations,
    summary_rows,
    tested_wells,
    write_tables,
)
from phenoscale.errors import UserError
from phenoscale.schema.columns import Embeddings
from phenoscale.schema.embeddings import EmbeddingTable
from phenoscale.schema.rows import Row
from phenoscale.stats.energy_distance import (
    control_sample,
    draw_left_out,
    energy_distances,
    null_energy_distances,
)
from phenoscale.stats.p_values import published_upper_p_values, q_values, upper_p_values

Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.intp]

VERB = "benchmark signal-magnitude"


def signal_magnitude_rows(table: EmbeddingTable, *, config: SignalMagnitudeConfig) -> list[Row]:
    """Shares of significant perturbations and the median energy distance, in every stratum.

    Raises:
        UserError: a stratum without two negative controls, or no perturbation with enough wells.
    """
    is_published = config.null == "control_perturbations"
    nothing = null_perturbations(config, verb=VERB) if is_published else frozenset()
    fit = {} if is_published else control_fit(config.embeddings, verb=VERB)
    rows, tables = [], []
    for wells in tested_wells(table):
        is_null = wells.groups["perturbation"].isin(sorted(nothing)).to_numpy()
        scores = magnitude_scores(
            wells.embeddings,
            wells.codes,
            is_control_N=wells.is_control,
            names_G=wells.groups["perturbation"].astype(str).to_numpy(dtype=np.str_),
            is_null_G=is_null,
            config=config,
        )
        p = scores.p[~is_null]
        kept = wells.groups.assign(**wells.stratum)[~is_null].reset_index(drop=True)
        described = kept.assign(
            num_wells=scores.num_wells[~is_null], energy_distance=scores.value[~is_null], p=p, q=q_values(p)
        )
        if scores.published_p is not None:
            described = described.assign(published_p=scores.published_p[~is_null])
        tables.append(described)
        num_controls = min(int(wells.is_control.sum()), config.max_controls)
        shared = {**_described(config, num_null_groups=int(is_null.sum())), "num_controls": num_controls}
        rows += summary_rows(
            described,
            metric="energy_distance",
            benchmark="signal_magnitude",
            settings={**shared, **wells.stratum, **fit},
            config=config,
        )
    write_tables(config.output, tables)
    return rows


def magnitude_scores(
    embeddings_ND: Embeddings,
    codes_N: Positions,
    *,
    is_control_N: Mask,
    names_G: npt.NDArray[np.str_],
    is_null_G: Mask,
    config: SignalMagnitudeConfig,
) -> SignalScores:
    """Energy distance and p-value of every perturbation under test, of arrays."""
    counts = np.bincount(codes_N[codes_N >= 0], minlength=len(names_G))
    enough = counts >= config.min_wells
    usable = enough & ~is_null_G
    if not usable.any():
        raise UserError(
            f"no perturbation has {config.min_wells} wells (the most is {int(counts.max(initial=0))}), but "
            "an energy distance needs them; embed more replicates, or lower --min-wells"
        )
    generator = np.random.default_rng(config.seed)
    controls = control_sample(embeddings_ND[_chosen_controls(is_control_N, config, generator=generator)])
    drawn = config.null == "control_subsets"
    sizes = np.unique(counts[usable]).tolist() if drawn else []
    left_out = draw_left_out(sizes, num_controls=len(controls), generator=generator)
    found = energy_distances(
        embeddings_ND,
        np.where((codes_N >= 0) & enough[codes_N], codes_N, -1),
        num_groups=len(names_G),
        controls=controls,
        left_out=left_out,
    )
    if not drawn:
        value = np.where(usable, found.to_all, np.nan)
        null = found.to_all[is_null_G & enough]
        refuse_empty_null(null, min_wells=config.min_wells)
        p = upper_p_values(value, null_B=null)
        published = published_upper_p_values(value, null_B=null, ties="gt")
        return SignalScores(names_G, counts, found.to_all, p, published)
    p = np.full(len(names_G), np.nan)
    for size in left_out:
        members = np.flatnonzero(usable & (counts == size))
        null = null_energy_distances(controls, size=size, num_draws=config.num_null, generator=generator)
        p[members] = upper_p_values(found.to_rest[members], null_B=null)
    return SignalScores(names_G, counts, found.to_all, p)


def _chosen_controls(
    is_control_N: Mask, config: SignalMagnitudeConfig, *, generator: np.random.Generator
) -> Positions:
    rows = np.flatnonzero(is_control_N)
    if len(rows) < 2:
        raise UserError(
            f"{len(rows)} of the {len(is_control_N)} wells are negative controls (column "
            "is_negative_control), but signal magnitude is a distance to at least 2; mark them in the well "
            "table"
        )
    if len(rows) > config.max_controls:
        rows = np.sort(generator.choice(rows, config.max_controls, replace=False))
    return rows.astype(np.intp)


def _described(config: SignalMagnitudeConfig, *, num_null_groups: int) -> dict[str, Any]:
    is_drawn = config.null == "control_subsets"
    return {
        "null": config.null,
        "ties": "ge",
        "min_wells": config.min_wells,
        "max_controls": config.max_controls,
        "statistic": "V",
        "num_null": config.num_null if is_drawn else num_null_groups,
    }
