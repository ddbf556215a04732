"""Nearest-neighbor mechanism of action: not the same compound (NSC), nor the same batch (NSCB).

Ljosa et al. (2013), doi:10.1177/1087057113503553, protocol of the BBBC021 baselines: rows are averaged to
plate-wells and these to treatments (compound x concentration); the treatment of another compound with the
largest cosine gives the mechanism. NSCB also leaves out treatments that share an experiment, and counts the
treatments that keep a candidate of their own mechanism. Shapes: N rows, T treatments, D dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from phenoscale.benchmarks.wells.config import MoaConfig
from phenoscale.errors import UserError
from phenoscale.mapping.batches import negative_controls
from phenoscale.mapping.steps.aggregate import average
from phenoscale.schema.embeddings import NUM_CROPS, EmbeddingTable
from phenoscale.schema.keys import EXPERIMENT_KEY, WELL_KEY
from phenoscale.schema.labels import key_labels
from phenoscale.schema.readable import listed_columns
from phenoscale.schema.rows import MOA, NSC_ACCURACY, NSCB_ACCURACY, Row, canonical_setting
from phenoscale.stats.cosines import unit_rows
from phenoscale.stats.intervals import wilson_interval
from phenoscale.stats.moments import moments

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Exclude = Literal["compound", "compound_and_batch"]

_TREATMENT = ("compound", "concentration_um")


@dataclass(frozen=True)
class Treatments:
    """One vector per compound and concentration.

    Attributes:
        frame: compound, concentration_um, moa, num_wells, and num_crops where it is known.
        vectors: [T, D].
        in_batch: [T, experiments] whether the treatment has a well in the experiment.
        num_excluded: treatments with too few crops.
    """

    frame: pd.DataFrame
    vectors: Array
    in_batch: Mask
    num_excluded: int


@dataclass(frozen=True)
class NearestNeighbors:
    """Who is most similar to each treatment, and whether it shares the mechanism.

    Attributes:
        scored: [S] positions of the treatments that were scored.
        neighbor: [S] their nearest allowed treatment.
        is_right: [S] whether the mechanism is the same.
        chance: expected accuracy of a random allowed neighbor.
    """

    scored: npt.NDArray[np.intp]
    neighbor: npt.NDArray[np.intp]
    is_right: Mask
    chance: float


def make_treatments(
    table: EmbeddingTable, *, aggregate: str = "mean", standardize: bool = False, min_crops: int = 3
) -> Treatments:
    """Average rows to wells and wells to treatments; negative controls are left out.

    Crops are counted by the column `num_crops`, else by rows where a row is a field or crop; a table of wells
    that does not count them keeps every treatment.

    Raises:
        UserError: no `moa` column, or no treatment is left.
    """
    rows = _labelled_rows(table)
    vectors = table.embeddings.astype(np.float64)
    if standardize:
        scale = moments(vectors, full=False)
        vectors = (vectors - scale.mean) / scale.deviation
    tested = _tested(table.frame)
    rows, vectors = rows[tested], vectors[tested]
    well_codes = _codes(rows, [*_TREATMENT, *WELL_KEY])
    wells = _first_and_crops(rows, well_codes)
    of_wells = average(vectors, codes_N=well_codes, method="mean")
    codes = _codes(wells, list(_TREATMENT))
    frame = _first_and_crops(wells, codes).assign(num_wells=np.bincount(codes))
    merged = average(of_wells, codes_N=codes, method=aggregate).astype(np.float64)
    in_batch = pd.crosstab(codes, key_labels(wells, EXPERIMENT_KEY)).to_numpy() > 0
    enough = (frame["num_crops"].isna() | (frame["num_crops"] >= min_crops)).to_numpy()
    if not enough.any():
        raise UserError(
            f"none of the {len(frame)} treatments has {min_crops} crops, but a nearest neighbor needs "
            "treatments; lower "
            "min_crops"
        )
    return Treatments(
        frame[enough].drop(columns=list(WELL_KEY)).reset_index(drop=True),
        merged[enough],
        in_batch[enough],
        int((~enough).sum()),
    )


def nearest_neighbors(treatments: Treatments, *, exclude: Exclude) -> NearestNeighbors:
    """Find each treatment's nearest allowed neighbor by cosine.

    Under `compound` every treatment with an allowed neighbor counts; under `compound_and_batch` those that
    keep a candidate of their own mechanism.
    """
    units, _ = unit_rows(treatments.vectors)
    compounds = treatments.frame["compound"].to_numpy(dtype=str)
    mechanisms = treatments.frame[MOA].to_numpy(dtype=str)
    allowed = compounds[:, None] != compounds[None, :]
    if exclude == "compound_and_batch":
        shared = treatments.in_batch.astype(np.int64) @ treatments.in_batch.T.astype(np.int64)
        allowed &= shared == 0
    same = allowed & (mechanisms[:, None] == mechanisms[None, :])
    scored = np.flatnonzero(same.any(axis=1) if exclude == "compound_and_batch" else allowed.any(axis=1))
    cosines = np.where(allowed, units @ units.T, -np.inf)[scored]
    neighbor = cosines.argmax(axis=1) if len(scored) else np.empty(0, np.intp)
    chance = same[scored].sum(axis=1) / allowed[scored].sum(axis=1)
    return NearestNeighbors(
        scored=scored,
        neighbor=neighbor,
        is_right=mechanisms[scored] == mechanisms[neighbor],
        chance=float(chance.mean()) if len(scored) else float("nan"),
    )


def moa_rows(table: EmbeddingTable, *, config: MoaConfig) -> list[Row]:
    """NSC and NSCB accuracy with Wilson intervals.

    Raises:
        UserError: what `make_treatments` refuses.
    """
    protocol = config.model_dump(include={"aggregate", "standardize", "min_crops"})
    treatments = make_treatments(table, **protocol)
    rows = []
    exclusions: tuple[tuple[str, Exclude], ...] = (
        (NSC_ACCURACY, "compound"),
        (NSCB_ACCURACY, "compound_and_batch"),
    )
    for metric, exclude in exclusions:
        found = nearest_neighbors(treatments, exclude=exclude)
        estimate = wilson_interval(int(found.is_right.sum()), total=len(found.scored))
        setting = canonical_setting(
            **protocol,
            chance=round(found.chance, 6) if len(found.scored) else None,
            interval="binomial",
        )
        rows.append(
            Row(
                benchmark=MOA,
                source=MOA,
                metric=metric,
                setting=setting,
                **estimate.as_fields,
                n=len(found.scored),
                excluded=treatments.num_excluded + len(treatments.frame) - len(found.scored),
            )
        )
    return rows


def has_mechanisms(frame: pd.DataFrame) -> bool:
    """Whether a table says the mechanism of at least one treatment."""
    return MOA in frame and bool((frame[MOA].fillna("").astype(str) != "").any())


def _codes(frame: pd.DataFrame, keys: list[str]) -> npt.NDArray[np.intp]:
    return frame.groupby(keys, dropna=False, sort=True).ngroup().to_numpy().astype(np.intp)


def _first_and_crops(frame: pd.DataFrame, codes: npt.NDArray[np.intp]) -> pd.DataFrame:
    """The first row of each group, with the crops of all of them; NaN where crops are not counted."""
    grouped = frame.groupby(codes, sort=True)
    return grouped.first().assign(num_crops=grouped["num_crops"].sum(min_count=1))


def _tested(frame: pd.DataFrame) -> Mask:
    labelled = (frame[MOA].fillna("").astype(str) != "").to_numpy()
    return np.asarray(labelled & ~negative_controls(frame), np.bool_)


def _labelled_rows(table: EmbeddingTable) -> pd.DataFrame:
    frame = table.frame
    if not has_mechanisms(frame):
        raise UserError(
            "the wells have no `moa` column, but mechanism accuracy needs it; add it to the well table"
        )
    if not _tested(frame).any():
        raise UserError(
            "only negative controls have a mechanism, but mechanism accuracy needs `moa` of treatments; add "
            "it to the well table"
        )
    missing = [name for name in WELL_KEY if name not in frame]
    if missing or not {"compound", "perturbation"} & set(frame):
        raise UserError(
            f"the embeddings have {listed_columns(frame.columns)}, but mechanism accuracy needs "
            f"{[*WELL_KEY, 'compound']} (or `perturbation` for the compound); add them to the well table"
        )
    compound = frame["perturbation"] if "perturbation" in frame else frame["compound"]
    if "compound" in frame:
        named = frame["compound"].fillna("").astype(str)
        compound = named.where(named != "", compound)
    crops: Any = np.nan if table.level == "well" else 1
    return pd.DataFrame(
        {
            "compound": compound.astype(str),
            "concentration_um": frame["concentration_um"].astype(float)
            if "concentration_um" in frame
            else np.nan,
            MOA: frame[MOA].fillna("").astype(str),
            NUM_CROPS: frame[NUM_CROPS].astype(float) if NUM_CROPS in frame else crops,
            **{name: frame[name].astype(str) if name in frame else "" for name in WELL_KEY},
        },
        index=frame.index,
    )
