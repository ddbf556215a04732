"""Read and write the `embedding` column of Parquet files and check it once, for embedding tables and maps.

Shapes: N rows, D dimensions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from phenoscale.errors import UserError
from phenoscale.files import written_whole
from phenoscale.schema.readable import listed_columns, require_file

EMBEDDING = "embedding"
_METADATA_KEY = b"phenoscale"

Embeddings = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Vectors:
    """One vector per row of a frame: what embedding tables and maps have in common."""

    frame: pd.DataFrame
    embeddings: Embeddings

    def __post_init__(self) -> None:
        assert self.embeddings.ndim == 2, f"embeddings have the shape {self.embeddings.shape}, not [N, D]"
        assert len(self.frame) == len(self.embeddings), "one row per vector"

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def dimensions(self) -> int:
        """Number of dimensions of a vector."""
        return int(self.embeddings.shape[1])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of columns and vectors, whatever the file layout."""
        return digest_columns(self.frame, self.embeddings)

    def select(self, rows_N: npt.NDArray[Any]) -> Self:
        """The rows under a boolean mask, or at given positions."""
        chosen = np.flatnonzero(rows_N) if rows_N.dtype == np.bool_ else rows_N
        return replace(
            self, frame=self.frame.iloc[chosen].reset_index(drop=True), embeddings=self.embeddings[chosen]
        )


def embedding_table(
    frame: pd.DataFrame, embeddings_ND: Embeddings, *, metadata: Mapping[str, Any]
) -> pa.Table:
    """Join columns and vectors into an Arrow table: `embedding` is a fixed-size list of float32.

    Args:
        frame: one row per vector; a column `embedding` would be replaced.
        embeddings_ND: the vectors.
        metadata: JSON-able facts kept in the Parquet schema, see `with_metadata`.
    """
    assert len(frame) == len(embeddings_ND), f"{len(frame)} rows for {len(embeddings_ND)} vectors"
    columns = pa.Table.from_pandas(frame.drop(columns=EMBEDDING, errors="ignore"), preserve_index=False)
    values = pa.array(np.ascontiguousarray(embeddings_ND, np.float32).reshape(-1))
    vectors = pa.FixedSizeListArray.from_arrays(values, embeddings_ND.shape[1])
    return with_metadata(columns.append_column(EMBEDDING, vectors), metadata)


def with_metadata(table: pa.Table, metadata: Mapping[str, Any]) -> pa.Table:
    """Keep JSON-able facts in the Parquet schema, under the key `phenoscale`."""
    kept = dict(table.schema.metadata or {})
    kept[_METADATA_KEY] = json.dumps(dict(metadata), sort_keys=True).encode()
    return table.replace_schema_metadata(kept)


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a Parquet file whole or not at all."""
    with written_whole(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_parquet(path: Path) -> pa.Table:
    """Read one Parquet file.

    Raises:
        UserError: the file is missing or is not a readable Parquet file.
    """
    require_file(path, holds="a Parquet file")
    try:
        return pq.ParquetFile(path).read()
    except pa.ArrowInvalid as error:
        raise UserError(f"{path} is not a readable Parquet file ({error}); write it again") from error


def split_embeddings(table: pa.Table, *, source: str) -> tuple[pd.DataFrame, Embeddings]:
    """Split an Arrow table into its other columns and the matrix of vectors, [N, D].

    A fixed-size list is viewed without a copy where Arrow holds it in one piece; a plain list is accepted
    as well when every list is equally long. float64 stays float64, everything else becomes float32.

    Raises:
        UserError: no `embedding` column, no rows, unequal dimensions, or a NaN, infinite or missing vector.
    """
    if EMBEDDING not in table.column_names:
        raise UserError(
            f"{source} has {listed_columns(table.column_names)}, but needs `{EMBEDDING}`, a list of numbers "
            "in each row; rename the column that holds the vectors"
        )
    if table.num_rows == 0:
        raise UserError(f"{source} has no rows, but needs at least one vector; check the step that wrote it")
    embeddings_ND = _matrix(table.column(EMBEDDING), source=source)
    check_finite(embeddings_ND, source=source)
    return table.drop_columns([EMBEDDING]).to_pandas(), embeddings_ND


def check_finite(embeddings_ND: Embeddings, *, source: str) -> None:
    """Refuse NaN and infinite values, naming the first rows that hold them."""
    rows = np.flatnonzero(~np.isfinite(embeddings_ND).all(axis=1))
    if len(rows):
        raise UserError(
            f"{source} has NaN or infinite values in {len(rows)} of {len(embeddings_ND)} vectors (rows "
            f"{rows[:5].tolist()}), but every value must be finite; remove these rows or embed them again"
        )


def read_metadata(schema: pa.Schema) -> dict[str, Any]:
    """The facts that `with_metadata` kept in a Parquet schema; empty for a file that others wrote."""
    raw = (schema.metadata or {}).get(_METADATA_KEY)
    return dict(json.loads(raw)) if raw else {}


def digest_columns(frame: pd.DataFrame, embeddings_ND: Embeddings) -> str:
    """SHA-256 over the values of columns and vectors, independent of file layout and compression."""
    with np.errstate(over="ignore"):  # values beyond float32 count as infinite here
        values_ND = np.ascontiguousarray(embeddings_ND, np.float32)
    digest = hashlib.sha256(values_ND.tobytes())
    digest.update(str(embeddings_ND.shape).encode())
    for name in sorted(map(str, frame.columns)):
        digest.update(name.encode())
        digest.update(json.dumps([_plain(value) for value in frame[name].tolist()]).encode())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """A cell as JSON: lists stay lists, missing is null, numbers are numbers, the rest is its text."""
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return None
    return value if isinstance(value, bool | int | float | str) else str(value)


def _matrix(column: pa.ChunkedArray, *, source: str) -> Embeddings:
    kind = column.type
    is_fixed = pa.types.is_fixed_size_list(kind)
    if not (is_fixed or pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        raise UserError(
            f"{source} holds {kind} in `{EMBEDDING}`, but each row needs a list of numbers; "
            "store the vectors as lists"
        )
    if column.null_count:
        raise UserError(
            f"{source} lacks the vector in {column.null_count} rows, but every row needs one; "
            "remove these rows"
        )
    joined = column.combine_chunks()
    array = joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined
    if is_fixed:
        dimensions = kind.list_size
    else:
        lengths = np.unique(np.diff(array.offsets.to_numpy()))
        if len(lengths) != 1:
            raise UserError(
                f"{source} has vectors of {lengths[:5].tolist()} dimensions, but all must have the same "
                "number; embed all rows with one encoder"
            )
        dimensions = int(lengths[0])
    values = array.flatten()
    if dimensions == 0:
        raise UserError(f"{source} has vectors of 0 dimensions, but needs at least 1; embed again")
    if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
        raise UserError(
            f"{source} holds {values.type} in `{EMBEDDING}`, but needs numbers; convert the vectors"
        )
    numbers = values.to_numpy(zero_copy_only=values.null_count == 0)
    kept = numbers if numbers.dtype == np.float64 else numbers.astype(np.float32, copy=False)
    return np.asarray(kept).reshape(-1, dimensions)
