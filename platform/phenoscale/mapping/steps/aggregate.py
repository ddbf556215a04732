"""Average wells into one vector per perturbation and stratum, with the negative controls as origin.

Compounds are averaged per (compound, concentration). Methods of the MAE paper and EFAAR: mean, median, and
the spherical mean normalize(sum_i x_i / |x_i|). Shapes: N wells, D dimensions, S strata, G groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from phenoscale.config import setting
from phenoscale.errors import UserError
from phenoscale.mapping.batches import Mask, Positions, batch_labels, flags, negative_controls
from phenoscale.mapping.steps.step import AggregationStep
from phenoscale.schema.columns import Embeddings
from phenoscale.schema.embeddings import NUM_CROPS, EmbeddingTable
from phenoscale.schema.keys import FIELD_KEY
from phenoscale.schema.maps import LABELS, PerturbationMap
from phenoscale.schema.readable import listed_columns
from phenoscale.stats.moments import Array, moments

if TYPE_CHECKING:
    from phenoscale.mapping.config import MapConfig

_OF_A_WELL = frozenset(
    {
        *(*FIELD_KEY, "field_id", "source", "guide", "channels"),
        *("image", "split", "batch", "quality", "is_negative_control", "is_positive_control", "control_type"),
        *("num_fields", NUM_CROPS),
    }
)
"""Columns that belong to a well and not to a perturbation, even where they happen to be constant."""


class AggregateStep(AggregationStep):
    """Average the wells of each perturbation and stratum."""

    name: Literal["aggregate"] = "aggregate"
    method: Literal["mean", "median", "spherical"] = setting(
        "mean", help="mean, median, or spherical: the normalized mean of the normalized wells"
    )
    via_guide: bool = setting(False, help="average the wells of each guide first, then the guides")
    origin: Literal["negative_controls", "none"] = setting(
        "negative_controls", help="mean of the stratum's negative controls is subtracted first, or nothing is"
    )

    def fit(self, table: EmbeddingTable, *, config: MapConfig) -> Aggregate:
        """Find the origin of each stratum."""
        return fit_aggregate(
            table,
            step=self,
            strata=config.strata,
            include_positive_controls=config.include_positive_controls,
        )


@dataclass(frozen=True)
class Aggregate:
    """The origin of each stratum and how to average.

    Attributes:
        step: the settings.
        strata: columns whose values are never averaged over.
        origins: [S, D] mean of each stratum's negative controls; zero without an origin.
        stratum_names: text of each stratum's values; row i of `origins` is stratum i.
        include_positive_controls: keep positive controls.
    """

    name: ClassVar[str] = "aggregate"
    step: AggregateStep
    strata: tuple[str, ...]
    origins: Array
    stratum_names: tuple[str, ...]
    include_positive_controls: bool

    def transform(self, table: EmbeddingTable) -> PerturbationMap:
        """Average the wells under test; controls and wells without a perturbation are left out.

        Raises:
            UserError: no well is left, or guides are asked for and there is no guide column.
        """
        kept = table.select(_under_test(table.frame, self.include_positive_controls))
        if not len(kept):
            raise UserError(
                f"none of the {len(table)} wells is a perturbation under test, so there is nothing to map; "
                "check the columns perturbation and is_negative_control"
            )
        vectors: Embeddings = kept.embeddings - self.origins[self._strata_of(kept.frame)]
        codes, keys = _groups(kept.frame, self.strata)
        if self.step.via_guide:
            members, of_guide = _guides(kept.frame, codes)
            vectors = average(vectors, codes_N=members, method=self.step.method)
            averaged = average(vectors, codes_N=of_guide, method=self.step.method)
        else:
            averaged = average(vectors, codes_N=codes, method=self.step.method)
        frame = _labels(kept.frame, codes=codes, keys=keys)
        return PerturbationMap(frame, averaged, strata=self.strata, encoder=table.encoder)

    def parameters(self) -> dict[str, Array]:
        """The fitted arrays."""
        return {"origins": self.origins}

    def _strata_of(self, frame: pd.DataFrame) -> Positions:
        known = {name: index for index, name in enumerate(self.stratum_names)}
        names = stratum_names(frame, self.strata)
        unknown = sorted(set(names) - set(known))
        if unknown:
            raise UserError(
                f"aggregate was not fitted on the strata {unknown[:5]}, but each needs its own origin; fit "
                "the map "
                "again with these wells in the table"
            )
        return np.array([known[name] for name in names], np.intp)


def fit_aggregate(
    table: EmbeddingTable, *, step: AggregateStep, strata: tuple[str, ...], include_positive_controls: bool
) -> Aggregate:
    """Find the origin of each stratum.

    Raises:
        UserError: a stratum without negative controls.
    """
    present = tuple(name for name in strata if name in table.frame and table.frame[name].notna().any())
    names = stratum_names(table.frame, present)
    controls = negative_controls(table.frame)
    unique = tuple(sorted(set(names)))
    origins = np.zeros((len(unique), table.dimensions))
    if step.origin == "negative_controls":
        labels = np.array(names)
        for index, name in enumerate(unique):
            rows = np.flatnonzero((labels == name) & controls)
            if not len(rows):
                raise UserError(
                    "the origin of a map is the mean of its negative controls, but the stratum "
                    f"{name or 'all'} has "
                    "none; mark them (is_negative_control), or set origin: none in aggregate"
                )
            origins[index] = moments(table.embeddings, rows=rows, full=False).mean
    return Aggregate(step, present, origins, unique, include_positive_controls)


def average(vectors_ND: Embeddings, *, codes_N: Positions, method: str) -> Embeddings:
    """One vector per code 0 .. G-1, in their order."""
    order = np.argsort(codes_N, kind="stable")
    starts = np.flatnonzero(np.diff(codes_N[order], prepend=-1))
    if method == "median":
        parts = np.split(vectors_ND[order], starts[1:])
        return np.stack([np.median(part, axis=0) for part in parts])
    rows = vectors_ND[order]
    if method == "mean":
        sizes = np.diff(starts, append=len(rows))
        return np.asarray(np.add.reduceat(rows, starts, axis=0) / sizes[:, None], vectors_ND.dtype)
    return unit(np.add.reduceat(unit(rows), starts, axis=0))


def unit(vectors_ND: Embeddings) -> Embeddings:
    """Rows divided by their norm; a zero row stays zero."""
    norms = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return np.asarray(vectors_ND / np.where(norms == 0, 1, norms), vectors_ND.dtype)


def stratum_names(frame: pd.DataFrame, strata: tuple[str, ...]) -> list[str]:
    """Text of each row's stratum: `cell_type=HUVEC timepoint_h=96.0`; empty without strata."""
    if not strata:
        return [""] * len(frame)
    columns = [(name + "=" + frame[name].astype(str).fillna("")).tolist() for name in strata]
    return [" ".join(parts) for parts in zip(*columns, strict=True)]


def _under_test(frame: pd.DataFrame, include_positive_controls: bool) -> Mask:
    if "perturbation" not in frame:
        raise UserError(
            f"the embeddings have {listed_columns(frame.columns)}, but a map needs `perturbation`; "
            "embed a table that names the perturbation of each well"
        )
    named = (frame["perturbation"].fillna("").astype(str) != "").to_numpy()
    kept = named & ~negative_controls(frame)
    return kept if include_positive_controls else kept & ~flags(frame, "is_positive_control")


def _groups(frame: pd.DataFrame, strata: tuple[str, ...]) -> tuple[Positions, list[str]]:
    """A code for each (stratum, perturbation, concentration of a compound), and the key columns."""
    keyed = frame.assign(perturbation=frame["perturbation"].astype(str))
    keys = [*strata, "perturbation"]
    if "concentration_um" in frame:
        concentration = frame["concentration_um"].astype(float)
        if "perturbation_type" in frame:
            concentration = concentration.where(frame["perturbation_type"] == "compound")
        keyed["concentration_um"] = concentration
        keys.append("concentration_um")
    codes = keyed.groupby(keys, sort=True, dropna=False).ngroup().to_numpy().astype(np.intp)
    return codes, keys


def _guides(frame: pd.DataFrame, codes_N: Positions) -> tuple[Positions, Positions]:
    """A code for each (group, guide) and, for each of these, its group."""
    if "guide" not in frame:
        raise UserError(
            "aggregate averages via guides, but the embeddings have no `guide` column; set via_guide: false"
        )
    guides, _ = pd.factorize(frame["guide"].fillna("").astype(str))
    pairs, members = np.unique(np.stack([codes_N, guides], axis=1), axis=0, return_inverse=True)
    return members.reshape(-1).astype(np.intp), pairs[:, 0].astype(np.intp)


def _labels(frame: pd.DataFrame, *, codes: Positions, keys: list[str]) -> pd.DataFrame:
    """Label columns, counts, and every other column that is constant within each group."""
    first = np.unique(codes, return_index=True)[1]
    carried = [name for name in LABELS if name in frame]
    carried += [
        name
        for name in map(str, frame.columns)
        if name not in {*carried, *_OF_A_WELL} and _is_constant(frame[name], codes)
    ]
    labels = frame.iloc[first][carried].reset_index(drop=True)
    if "concentration_um" in labels and "perturbation_type" in labels:
        labels["concentration_um"] = labels["concentration_um"].where(
            labels["perturbation_type"] == "compound"
        )
    counts: Mapping[str, Any] = {"num_wells": np.bincount(codes)}
    if "guide" in frame:
        named = frame["guide"].mask(frame["guide"].astype(str) == "")
        counts = {**counts, "num_guides": named.groupby(codes).nunique().to_numpy()}
    if "experiment" in frame:
        experiments = pd.Series(batch_labels(frame, "experiment"))
        experiments = experiments.mask((frame["experiment"].astype(str) == "").to_numpy())
        counts = {**counts, "num_experiments": experiments.groupby(codes).nunique().to_numpy()}
    if NUM_CROPS in frame:
        counts = {**counts, NUM_CROPS: frame[NUM_CROPS].groupby(codes).sum().to_numpy()}
    return labels.assign(**counts)


def _is_constant(column: pd.Series[Any], codes_N: npt.NDArray[np.intp]) -> bool:
    values = column.tolist()
    if any(isinstance(value, list | np.ndarray | dict) for value in values[:1]):
        return False
    factors, _ = pd.factorize(column, use_na_sentinel=False)
    return bool(pd.Series(factors).groupby(codes_N).nunique().max() == 1)
