"""The wells of each stratum by the perturbation they test: what benchmarks of single perturbations read.

Shapes: N wells, D dimensions, G perturbations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from phenoscale.benchmarks.wells.config import SignalConsistencyConfig, SignalMagnitudeConfig
from phenoscale.errors import UserError
from phenoscale.mapping.batches import flags, negative_controls
from phenoscale.mapping.genes import read_genes
from phenoscale.schema.columns import Embeddings, write_parquet
from phenoscale.schema.embeddings import EmbeddingTable
from phenoscale.schema.maps import STRATA
from phenoscale.schema.readable import listed_columns
from phenoscale.schema.rows import Row, canonical_setting
from phenoscale.stats.intervals import percentile_interval

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.intp]
SignalConfig = SignalConsistencyConfig | SignalMagnitudeConfig
_CHUNK = 4_000_000


@dataclass(frozen=True)
class WellsUnderTest:
    """Wells of one stratum.

    Attributes:
        frame: the N wells.
        embeddings: [N, D].
        groups: one row per perturbation (and concentration) under test: its labels.
        codes: [N] the group of each well; -1 for controls and wells without a perturbation.
        is_control: [N] which wells are negative controls.
        stratum: cell type and time point where the table has several.
    """

    frame: pd.DataFrame
    embeddings: Embeddings
    groups: pd.DataFrame
    codes: Positions
    is_control: Mask
    stratum: Mapping[str, Any]


def tested_wells(table: EmbeddingTable) -> list[WellsUnderTest]:
    """Split a table into strata and find the perturbations under test in each.

    Raises:
        UserError: no perturbation column, or no well under test.
    """
    frame = table.frame
    if "perturbation" not in frame:
        raise UserError(
            f"the embeddings have {listed_columns(frame.columns)}, but replicates need `perturbation`; "
            "embed a table that names the perturbation of each well"
        )
    strata = [name for name in STRATA if name in frame]
    pieces: list[tuple[Any, Any]] = [((), np.arange(len(frame)))]
    if strata:
        pieces = list(frame.groupby(strata, sort=True, dropna=False).indices.items())
    found = []
    for values, rows in pieces:
        named = dict(zip(strata, values if isinstance(values, tuple) else (values,), strict=True))
        stratum = {name: _plain(value) for name, value in named.items()} if len(pieces) > 1 else {}
        wells = _of_stratum(table.select(np.sort(rows)) if len(pieces) > 1 else table, stratum=stratum)
        if len(wells.groups):
            found.append(wells)
    if not found:
        raise UserError(
            f"none of the {len(frame)} wells is a perturbation under test; check the columns perturbation "
            "and is_negative_control"
        )
    return found


def _of_stratum(table: EmbeddingTable, *, stratum: Mapping[str, Any]) -> WellsUnderTest:
    frame = table.frame
    is_control = negative_controls(frame)
    named = (frame["perturbation"].fillna("").astype(str) != "").to_numpy()
    tested = np.flatnonzero(named & ~is_control & ~flags(frame, "is_positive_control"))
    keys = [name for name in ("perturbation", "concentration_um") if name in frame]
    labels = frame.iloc[tested][keys].astype({"perturbation": str})
    codes = np.full(len(frame), -1, np.intp)
    codes[tested] = labels.groupby(keys, sort=True, dropna=False).ngroup()
    first = tested[np.unique(codes[tested], return_index=True)[1]]
    return WellsUnderTest(
        frame, table.embeddings, frame.iloc[first][keys].reset_index(drop=True), codes, is_control, stratum
    )


def null_perturbations(config: SignalConfig, *, verb: str) -> frozenset[str]:
    """Perturbations that do nothing: those that are named, and unexpressed genes.

    Raises:
        UserError: neither names nor a gene table.
    """
    names = set(config.null_perturbations)
    if config.genes:
        genes = read_genes(config.genes, columns=("zfpkm",))
        names |= set(genes.loc[genes["zfpkm"] < config.max_zfpkm, "gene"].astype(str))
    if not names:
        raise UserError(
            f"{verb} with null: control_perturbations needs perturbations that do nothing, got none; give "
            "--null-perturbations, or --genes with a zfpkm column that has unexpressed genes"
        )
    return frozenset(names)


def summary_rows(
    table: pd.DataFrame, *, metric: str, benchmark: str, settings: Mapping[str, Any], config: SignalConfig
) -> list[Row]:
    """Shares of perturbations with p and with q below the threshold, and the median of the metric.

    Args:
        table: one row per perturbation: `metric`, `p` and `q`, NaN where it has none.
        metric: name of the column that is summarized.
        benchmark: name of the benchmark.
        settings: what the rows' setting says besides threshold and interval.
        config: threshold, resamples and seed.
    """
    tested = table["p"].notna().to_numpy()
    setting = canonical_setting(
        threshold=config.threshold, correction="benjamini-hochberg", interval="perturbations", **settings
    )
    known = table.loc[tested]
    parts = {
        "fraction_p": (known["p"].to_numpy() < config.threshold).astype(np.float64),
        "fraction_q": (known["q"].to_numpy() < config.threshold).astype(np.float64),
    }
    if "published_p" in known:
        parts["fraction_published_p"] = (known["published_p"].to_numpy() < config.threshold).astype(float)
    rows = []
    for name, values in {**parts, f"median_{metric}": known[metric].to_numpy(np.float64)}.items():
        is_median = name.startswith("median")
        value = (np.median(values) if is_median else values.mean()) if len(values) else np.nan
        draws = _resampled(values, is_median=is_median, config=config)
        estimate = percentile_interval(float(value), resampled_B=draws)
        rows.append(
            Row(
                benchmark=benchmark,
                source=str(settings["null"]),
                metric=name,
                setting=setting,
                **estimate.as_fields,
                n=len(values),
                excluded=int((~tested).sum()),
                seed=config.seed,
            )
        )
    return rows


def write_tables(file: str, tables: Sequence[pd.DataFrame]) -> None:
    """Write the rows of all strata into one Parquet file, where one is asked for."""
    if file:
        joined = pd.concat(tables, ignore_index=True)
        write_parquet(Path(file), pa.Table.from_pandas(joined, preserve_index=False))


def _resampled(values: Array, *, is_median: bool, config: SignalConfig) -> Array:
    generator = np.random.default_rng(config.seed)
    if not len(values):
        return np.empty(0)
    step = max(_CHUNK // len(values), 1)
    parts = []
    for start in range(0, config.num_resamples, step):
        size = min(step, config.num_resamples - start)
        drawn = values[generator.integers(0, len(values), (size, len(values)))]
        parts.append(np.median(drawn, axis=1) if is_median else drawn.mean(axis=1))
    return np.concatenate(parts) if parts else np.empty(0)


def _plain(value: Any) -> Any:
    if pd.isna(value):
        return None
    return value.item() if isinstance(value, np.generic) else value
