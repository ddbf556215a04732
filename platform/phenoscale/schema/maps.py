"""PerturbationMap: one vector per perturbation and stratum, with the ordered steps that made it.

On disk: `map.parquet` (label columns, counts, `embedding`) and `map.json` (steps with the digest of every
fitted parameter). A bare Parquet with `perturbation` and `embedding` is a map as well. Origin = negative
controls.
Shapes: N perturbations, D dimensions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from phenoscale.errors import UserError
from phenoscale.files import write_atomic
from phenoscale.schema.columns import (
    EMBEDDING,
    Embeddings,
    Vectors,
    embedding_table,
    read_metadata,
    read_parquet,
    split_embeddings,
    write_parquet,
)
from phenoscale.schema.formats import Format
from phenoscale.schema.readable import listed_columns

FORMAT = Format("phenoscale.map", 1, way_out="run `phenoscale map` again")
MAP_FILE = "map.parquet"
HEADER_FILE = "map.json"
STRATA = ("cell_type", "timepoint_h")
LABELS = ("perturbation", "perturbation_type", "gene", "compound", "concentration_um", *STRATA)
"""The columns a map can have besides counts; only `perturbation` is needed."""


@dataclass(frozen=True)
class PerturbationMap(Vectors):
    """One vector per perturbation and stratum.

    Attributes:
        frame: one row per vector: `perturbation`, and those of LABELS and the counts that are known.
        embeddings: [N, D].
        steps: what was done to the embeddings, in order, each with its settings and parameter digests.
        strata: columns whose values are never averaged over.
        encoder: digest of the encoder, "" when unknown.
    """

    steps: tuple[Mapping[str, Any], ...] = ()
    strata: tuple[str, ...] = ()
    encoder: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        assert "perturbation" in self.frame, "a map names its perturbations"

    @property
    def entities(self) -> npt.NDArray[np.str_]:
        """The names that annotations use: the gene where a row has one, else the perturbation."""
        names = self.frame["perturbation"].astype(str).to_numpy(dtype=str)
        if "gene" not in self.frame:
            return names
        genes = self.frame["gene"].fillna("").astype(str).to_numpy(dtype=str)
        return np.where(genes == "", names, genes)

    def by_stratum(self) -> list[tuple[dict[str, Any], PerturbationMap]]:
        """The map of each stratum with its values, in sorted order; one piece without strata columns."""
        present = [name for name in (self.strata or STRATA) if name in self.frame]
        if not present:
            return [({}, self)]
        groups = self.frame.groupby(present, sort=True, dropna=False).indices
        if len(groups) == 1:
            return [({}, self)]
        return [
            (dict(zip(present, map(_plain, _tuple(key)), strict=True)), self.select(np.asarray(rows)))
            for key, rows in groups.items()
        ]


def parse_map(
    frame: pd.DataFrame, embeddings_ND: Embeddings, *, source: str, header: Mapping[str, Any] | None = None
) -> PerturbationMap:
    """Check labels and make the value.

    Raises:
        UserError: no `perturbation` column, an empty label, or the same label twice in one stratum.
    """
    header = header or {}
    if "perturbation" not in frame:
        raise UserError(
            f"{source} has {listed_columns([*frame.columns, EMBEDDING])}, but a map needs `perturbation`; "
            "rename the column that names the perturbations"
        )
    frame = frame.copy()
    frame["perturbation"] = frame["perturbation"].fillna("").astype(str)
    if (frame["perturbation"] == "").any():
        rows = np.flatnonzero(frame["perturbation"] == "")[:5].tolist()
        raise UserError(
            f"{source} has no perturbation in the rows {rows}, but each vector needs a name; fill it"
        )
    _refuse_duplicates(frame, source=source)
    return PerturbationMap(
        frame=frame.reset_index(drop=True),
        embeddings=embeddings_ND,
        steps=tuple(header.get("steps", ())),
        strata=tuple(header.get("strata", ())),
        encoder=str(header.get("encoder", "")),
    )


def read_map(path: str | Path) -> PerturbationMap:
    """Read a map folder, its `map.parquet`, or any bare Parquet with `perturbation` and `embedding`.

    Raises:
        UserError: a missing file or column, NaN, unequal dimensions, duplicate labels.
    """
    file = Path(path) / MAP_FILE if Path(path).is_dir() else Path(path)
    arrow = read_parquet(file)
    frame, embeddings_ND = split_embeddings(arrow, source=str(file))
    header = read_metadata(arrow.schema)
    FORMAT.check(header, source=str(file))
    return parse_map(frame, embeddings_ND, source=str(file), header=header)


def write_map(folder: Path, perturbation_map: PerturbationMap) -> Path:
    """Write `map.parquet` and `map.json` into a folder, and return the folder."""
    write_bare_map(folder / MAP_FILE, perturbation_map)
    header = _header(perturbation_map) | {
        "digest": perturbation_map.digest,
        "num_perturbations": len(perturbation_map),
        "dimensions": perturbation_map.dimensions,
        "origin": "negative controls",
    }
    text = json.dumps(header, indent=2, sort_keys=True, allow_nan=False)
    write_atomic(folder / HEADER_FILE, f"{text}\n".encode())
    return folder


def write_bare_map(file: Path, perturbation_map: PerturbationMap) -> None:
    """Write one Parquet file that knows its steps from its schema's metadata."""
    write_parquet(
        file,
        embedding_table(
            perturbation_map.frame, perturbation_map.embeddings, metadata=_header(perturbation_map)
        ),
    )


def _header(perturbation_map: PerturbationMap) -> dict[str, Any]:
    return {
        **FORMAT.header,
        "steps": [dict(step) for step in perturbation_map.steps],
        "strata": list(perturbation_map.strata),
        "encoder": perturbation_map.encoder,
    }


def _refuse_duplicates(frame: pd.DataFrame, *, source: str) -> None:
    key = [name for name in ("perturbation", "concentration_um", *STRATA) if name in frame]
    repeated = frame.duplicated(key)
    if repeated.any():
        names: Sequence[str] = frame.loc[repeated, "perturbation"].unique()[:5].tolist()
        raise UserError(
            f"{source} holds {int(repeated.sum())} labels twice, such as {list(names)}, but a perturbation "
            f"has one vector per {', '.join(key[1:]) or 'map'}; aggregate the rows first"
        )


def _tuple(key: Any) -> tuple[Any, ...]:
    return key if isinstance(key, tuple) else (key,)


def _plain(value: Any) -> Any:
    if pd.isna(value):
        return None
    return value.item() if isinstance(value, np.generic) else value
