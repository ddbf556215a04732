"""EmbeddingTable: vectors of crops, fields, wells, guides or perturbations, with their well columns.

On disk: a Parquet dataset `screen=S/experiment=E/plate=P/*.parquet` (names URL-quoted), column `embedding` a
fixed-size list of float32, the table's facts in the Parquet schema.
Shapes: N rows, D dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args
from urllib.parse import quote, unquote

import numpy as np
import pandas as pd

from phenoscale.errors import UserError
from phenoscale.schema.columns import (
    Embeddings,
    Vectors,
    embedding_table,
    read_metadata,
    read_parquet,
    split_embeddings,
    write_parquet,
)
from phenoscale.schema.formats import Format
from phenoscale.schema.keys import FIELD_KEY, PLATE_KEY, WELL_KEY
from phenoscale.schema.labels import with_screen

Level = Literal["crop", "field", "well", "guide", "perturbation"]
FORMAT = Format("phenoscale.embeddings", 2, way_out="run `phenoscale embed` again")
"""Version 1 had partitions without the screen: plates of equal names replaced each other."""
NUM_CROPS = "num_crops"
"""Column that says how many crops a vector is the mean of."""


@dataclass(frozen=True)
class EmbeddingTable(Vectors):
    """Vectors and the well columns that say where they come from.

    Attributes:
        frame: one row per vector: key and well columns, `num_crops` where vectors are means of crops. Wells
            from elsewhere that name no screen are of the screen "".
        embeddings: [N, D], float32 on disk; float64 is kept in memory where a computation needs it.
        level: what one row is.
        encoder: digest of the encoder that made the vectors, "" when unknown.
        block: 0-based block that was read out, None for an encoder without blocks.
        pooling: how tokens became one vector.
    """

    level: Level
    encoder: str = ""
    block: int | None = None
    pooling: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "frame", with_screen(self.frame))

    def with_embeddings(self, embeddings_ND: Embeddings) -> EmbeddingTable:
        """The same rows with other vectors."""
        return replace(self, embeddings=embeddings_ND)


def partition_path(folder: Path, plate: Sequence[str]) -> Path:
    """Folder of one plate inside a dataset; names are URL-quoted, so that any plate name is a path.

    Args:
        folder: the dataset.
        plate: the values of PLATE_KEY; only a screen may be unnamed.

    Raises:
        UserError: an empty name.
    """
    for column, name in zip(PLATE_KEY, plate, strict=True):
        if not name and column != "screen":
            raise UserError(
                f"an embedding has an empty `{column}`, but each partition needs a name; fill the column"
            )
        folder /= f"{column}={quote(name, safe='')}"
    return folder


def write_partition(folder: Path, table: EmbeddingTable, *, part: str = "part-0") -> Path:
    """Write rows of one plate as one file of the dataset (atomically), and return its path.

    Args:
        folder: the dataset.
        table: rows that all belong to one plate.
        part: file name without suffix; one per shard when several workers share a plate.
    """
    plates = table.frame[list(PLATE_KEY)].astype(str).drop_duplicates()
    assert len(plates) == 1, f"a partition holds one plate, got {len(plates)}"
    path = partition_path(folder, plates.iloc[0].tolist()) / f"{part}.parquet"
    arrow = embedding_table(
        table.frame.drop(columns=list(PLATE_KEY)), table.embeddings, metadata=_metadata(table)
    )
    write_parquet(path, arrow)
    return path


def write_embeddings(folder: Path, table: EmbeddingTable) -> list[Path]:
    """Write a whole table, one file per plate, rows in their order; return the files.

    Raises:
        UserError: no experiment or plate column, or an empty name in them.
    """
    _need_columns(table.frame, PLATE_KEY, source="the embedding table")
    grouped = table.frame.groupby(list(PLATE_KEY), sort=False, dropna=False).indices
    return [write_partition(folder, table.select(np.sort(rows))) for rows in grouped.values()]


def iterate_partitions(path: Path) -> Iterator[EmbeddingTable]:
    """Read a dataset one file at a time, in the order of the file names; a single file is a dataset of one.

    Raises:
        UserError: nothing to read, a file of another format version, or one that breaks a rule of
            `split_embeddings`.
    """
    files = partition_files(path) if path.is_dir() else [path]
    if not files:
        raise UserError(
            f"{path} holds no `{_glob(PLATE_KEY)}`, but an embedding table is needed; run `embed` first"
        )
    for file in files:
        arrow = read_parquet(file)
        metadata = read_metadata(arrow.schema)
        FORMAT.check(metadata, source=str(file))
        frame, embeddings_ND = split_embeddings(arrow, source=str(file))
        yield _table(_with_partition_columns(frame, file), embeddings_ND, metadata=metadata)


def partition_files(folder: Path) -> list[Path]:
    """The files of a dataset: our own, or one from elsewhere that names no screen."""
    return sorted(folder.glob(_glob(PLATE_KEY))) or sorted(folder.glob(_glob(PLATE_KEY[1:])))


def _glob(columns: Sequence[str]) -> str:
    return "/".join([*(f"{name}=*" for name in columns), "*.parquet"])


def table_of_level(path: str | Path, *, level: Level) -> Path:
    """The table of one level inside an `embed` output (`wells/`, `fields/`); any other path is itself."""
    inside = Path(path) / f"{level}s"
    return inside if inside.is_dir() else Path(path)


def read_embeddings(path: str | Path) -> EmbeddingTable:
    """Read a dataset folder or one Parquet file.

    Raises:
        UserError: files of different level, encoder or dimension, duplicate rows, or a broken file.
    """
    parts = list(iterate_partitions(Path(path)))
    first = parts[0]
    for part in parts[1:]:
        for name in ("level", "encoder", "block", "pooling", "dimensions"):
            if getattr(part, name) != getattr(first, name):
                raise UserError(
                    f"{path} mixes the {name} {getattr(first, name)!r} with {getattr(part, name)!r}, but one "
                    "table holds one kind of embedding; write them to separate folders"
                )
    if len(parts) == 1:
        table = first
    else:
        frame = pd.concat([part.frame for part in parts], ignore_index=True)
        table = replace(first, frame=frame, embeddings=np.concatenate([part.embeddings for part in parts]))
    _refuse_duplicates(table, source=str(path))
    return table


_KEY_OF_LEVEL: dict[str, tuple[str, ...]] = {
    "crop": (),
    "field": FIELD_KEY,
    "well": WELL_KEY,
    "guide": (),
    "perturbation": (),
}


def _refuse_duplicates(table: EmbeddingTable, *, source: str) -> None:
    needed = _KEY_OF_LEVEL[table.level]
    known = set(table.frame.columns)
    if not needed or not set(needed) <= known:
        return
    # A table of a well's fields or crops that does not say its level reads as one of wells.
    key = [name for name in FIELD_KEY if name in known]
    refuse_rows_twice(table.frame, key, source=source, row=table.level)


def refuse_rows_twice(frame: pd.DataFrame, key: list[str], *, source: str, row: str) -> None:
    """Refuse a table that gives a well (or field) several times: copies would agree with themselves.

    Args:
        frame: one row per well, say.
        key: columns that tell the rows apart.
        source: where the table comes from, for the message.
        row: what one row is.

    Raises:
        UserError: rows that agree in all of the key.
    """
    repeated = frame.duplicated(key)
    if repeated.any():
        rows = frame.loc[repeated, key].head(5).astype(str).agg("/".join, axis=1).tolist()
        raise UserError(
            f"{source} holds {int(repeated.sum())} rows twice, such as {rows}, but each {row} has one "
            "vector; remove the duplicates, or give each plate once"
        )


def _table(frame: pd.DataFrame, embeddings_ND: Embeddings, *, metadata: dict[str, Any]) -> EmbeddingTable:
    level = metadata.get("level", "well")
    if level not in get_args(Level):
        raise UserError(
            f"level is {level!r}, but must be one of {list(get_args(Level))}; write the table again"
        )
    return EmbeddingTable(
        frame=frame,
        embeddings=embeddings_ND,
        level=cast(Level, level),
        encoder=str(metadata.get("encoder", "")),
        block=metadata.get("block"),
        pooling=str(metadata.get("pooling", "")),
    )


def _metadata(table: EmbeddingTable) -> dict[str, Any]:
    facts = {"level": table.level, "encoder": table.encoder, "block": table.block, "pooling": table.pooling}
    return {**FORMAT.header, **facts}


def _with_partition_columns(frame: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Put the plate's key back, which only the path holds; a file from elsewhere keeps its own columns."""
    values: dict[str, str] = {}
    for name, parent in zip(reversed(PLATE_KEY), file.parents, strict=False):
        if parent.name.startswith(f"{name}="):
            values[name] = unquote(parent.name.removeprefix(f"{name}="))
    for position, name in enumerate(name for name in PLATE_KEY if name in values or name in frame):
        if name not in frame:
            frame.insert(min(position, len(frame.columns)), name, values[name])
    return frame


def _need_columns(frame: pd.DataFrame, names: tuple[str, ...], *, source: str) -> None:
    missing = [name for name in names if name not in frame]
    if missing:
        raise UserError(f"{source} lacks the columns {missing}, but needs {list(names)}; add them")
