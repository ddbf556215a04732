"""How a screen store lies on disk: folder names, the Zarr v3 array of a plate, the tensorstore context.

A plate is one array with the axes field, channel, y, x. Shard = one field; inner chunk = 256 x 256 pixels of
all channels (the whole field if it is smaller), so that one crop of up to 256 pixels touches at most four.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import tensorstore as ts

from phenoscale.errors import RetryError, is_disk_full

IMAGES_FOLDER: Final = "images.zarr"
WELLS_FILE: Final = "wells.parquet"
PLATE_FILE: Final = "plate.json"
QUARANTINE_FILE: Final = "quarantine.parquet"
SOURCES_FILE: Final = "sources.parquet"
CHUNK_PX: Final = 256

# Random crops hardly ever share a chunk: the cache is for the shards' indices and for crops side by side.
_CACHE_BYTES: Final = 32 * 2**20
_FILE_IO_THREADS: Final = 8


@dataclass(frozen=True)
class PlateShape:
    """The shape of a plate's array: num_fields x num_channels x height x width pixels of one type."""

    num_fields: int
    num_channels: int
    height: int
    width: int
    dtype: str

    @property
    def inner_chunk(self) -> tuple[int, int, int, int]:
        """The piece that is compressed, and so read, as one."""
        return (1, self.num_channels, min(CHUNK_PX, self.height), min(CHUNK_PX, self.width))

    @property
    def shard(self) -> tuple[int, int, int, int]:
        """The piece that is one file: a field, rounded up to whole inner chunks as sharding demands."""
        _, channels, height, width = self.inner_chunk
        return (1, channels, math.ceil(self.height / height) * height, math.ceil(self.width / width) * width)


def plate_folder(experiment: str, plate: str) -> str:
    """Return a plate's folder inside a store; names are escaped so that no two plates share one."""
    return f"plates/{_escaped(experiment)}/{_escaped(plate)}"


@functools.cache
def shared_context() -> Any:
    """Return the process's tensorstore context: one bounded cache and one set of threads for all arrays."""
    return ts.Context(
        {
            "cache_pool": {"total_bytes_limit": _CACHE_BYTES},
            "data_copy_concurrency": {"limit": len(os.sched_getaffinity(0))},
            "file_io_concurrency": {"limit": _FILE_IO_THREADS},
        }
    )


def create_array(folder: Path, shape: PlateShape, *, attributes: dict[str, Any]) -> Any:
    """Create a plate's array, replacing one that lies there."""
    metadata = {
        "shape": [shape.num_fields, shape.num_channels, shape.height, shape.width],
        "data_type": shape.dtype,
        "dimension_names": ["field", "channel", "y", "x"],
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(shape.shard)}},
        # one flat file per field: the default separator makes four folders for each
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "codecs": [_sharded(shape)],
        "attributes": attributes,
    }
    spec = {**_spec(folder), "metadata": metadata}
    return ts.open(spec, create=True, delete_existing=True, context=shared_context()).result()


def open_array(folder: Path) -> Any:
    """Open a plate's array for reading; cached chunks older than this call are checked again."""
    spec = {**_spec(folder), "recheck_cached_data": "open"}
    return ts.open(spec, open=True, read=True, context=shared_context()).result()


@contextmanager
def retry_when_disk_full(what: str) -> Iterator[None]:
    """Turn a full disk, quota or file limit into a RetryError that says what could not be written."""
    try:
        yield
    except Exception as error:
        if is_disk_full(error):
            raise RetryError(
                f"no space left to write {what}; free some space and run the same command again"
            ) from error
        raise


def _spec(folder: Path) -> dict[str, Any]:
    return {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{folder.resolve().as_posix()}/"}}


def _sharded(shape: PlateShape) -> dict[str, Any]:
    inner = [{"name": "bytes", "configuration": {"endian": "little"}}, _codec(shape.dtype)]
    chunk = {"chunk_shape": list(shape.inner_chunk), "codecs": inner, "index_location": "end"}
    return {"name": "sharding_indexed", "configuration": chunk}


def _codec(dtype: str) -> dict[str, Any]:
    """Lossless, and above all quick to undo: a crop is decompressed again in every epoch.

    On 16-bit fields LZ4 is undone in half the CPU time of Zstandard for a tenth more bytes (bench/store.py).
    """
    size = int(dtype.removeprefix("uint")) // 8
    shuffle = "shuffle" if size > 1 else "bitshuffle"
    return {
        "name": "blosc",
        "configuration": {"cname": "lz4", "clevel": 5, "shuffle": shuffle, "typesize": size},
    }


def _escaped(name: str) -> str:
    escaped = quote(name, safe=" ()+,;=@")
    return escaped.replace(".", "%2E") if set(escaped) == {"."} else escaped
