"""How a screen store lies on disk or in a bucket: names of its files, and the Zarr v3 arrays of a plate.

Beside the tables of a plate lies `images.zarr`. With fields of view it is an OME-Zarr plate (`screens.ome`)
with one array a field, axes c, y, x, and one shard. With single-cell crops it is one array of all objects,
axes object, c, y, x, and hundreds of crops a shard: a million cells are not a million files. Inner chunk =
256 x 256 pixels of all channels (all pixels if there are fewer), so that a crop of up to 256 pixels touches
at most four. Nothing but the plate's entry in the header is needed to read an array.
"""

from __future__ import annotations

import functools
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import tensorstore as ts

from phenoscale.schema.addresses import split_address
from phenoscale.schema.screen import Layout

IMAGES_FOLDER: Final = "images.zarr"
WELLS_FILE: Final = "wells.parquet"
QUALITY_FILE: Final = "quality.parquet"
PLATE_FILE: Final = "plate.json"
QUARANTINE_FILE: Final = "quarantine.parquet"
SOURCES_FILE: Final = "sources.parquet"
METADATA_FILE: Final = "zarr.json"
CHUNK_PX: Final = 256

# Random crops hardly ever share a chunk: the cache is for the shards' indices and for crops side by side.
_CACHE_BYTES: Final = 32 * 2**20
_FILE_IO_THREADS: Final = 8
_MAX_CROPS_PER_SHARD: Final = 512
_MAX_SHARD_BYTES: Final = 32 * 2**20
_S3: Final = "s3://"
_AWAY: Final = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED", "RESOURCE_EXHAUSTED", "CANCELLED")


@dataclass(frozen=True)
class PlateShape:
    """What the pixels of a plate are: `num_fields` times num_channels x height x width of one type."""

    layout: Layout
    num_fields: int
    num_channels: int
    height: int
    width: int
    dtype: str

    @property
    def inner_chunk(self) -> tuple[int, int, int]:
        """The piece [c, y, x] that is compressed, and so read, as one."""
        return (self.num_channels, min(CHUNK_PX, self.height), min(CHUNK_PX, self.width))

    @property
    def shard(self) -> tuple[int, int, int]:
        """A field or crop [c, y, x], rounded up to whole inner chunks as sharding demands."""
        channels, height, width = self.inner_chunk
        return (channels, math.ceil(self.height / height) * height, math.ceil(self.width / width) * width)

    @property
    def fields_per_shard(self) -> int:
        """Fields or crops in one file."""
        if self.layout == "fields":
            return 1
        crop_bytes = math.prod(self.shard) * _num_bytes(self.dtype)
        return max(1, min(_MAX_CROPS_PER_SHARD, _MAX_SHARD_BYTES // crop_bytes))

    def metadata(self) -> dict[str, Any]:
        """The Zarr metadata of an array: that of each field, or that of all crops."""
        shape, names = [self.num_channels, self.height, self.width], ["c", "y", "x"]
        shard, inner = list(self.shard), list(self.inner_chunk)
        if self.layout == "crops":
            shape, names = [self.num_fields, *shape], ["object", *names]
            shard, inner = [self.fields_per_shard, *shard], [1, *inner]
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": shape,
            "data_type": self.dtype,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shard}},
            # one flat file: the default separator makes a folder for each axis
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
            "fill_value": 0,
            "codecs": [_sharded(inner, dtype=self.dtype)],
            "dimension_names": names,
        }


def layout_of(objects: Any) -> Layout:
    """Choose the layout of a plate from its column `object`: 0 is a whole field, else a cell's number."""
    return "crops" if any(number != 0 for number in objects) else "fields"


def plate_folder(experiment: str, plate: str) -> str:
    """Return a plate's folder inside a store; names are escaped so that no two plates share one."""
    return f"plates/{_escaped(experiment)}/{_escaped(plate)}"


def well_path(well: str) -> str:
    """Return a well's group inside an OME-Zarr plate: `B02` is `B/2`."""
    return f"{well.rstrip('0123456789')}/{split_address(well)[1] + 1}"


def image_path(well: str, site: int) -> str:
    """Return a field's image inside an OME-Zarr plate."""
    return f"{well_path(well)}/{site}"


def array_path(well: str, site: int) -> str:
    """Return a field's array, of full resolution, inside an OME-Zarr plate."""
    return f"{image_path(well, site)}/0"


@functools.cache
def shared_context() -> Any:
    """Return the process's tensorstore context: one bounded cache and one set of threads for all arrays."""
    return ts.Context(
        {
            "cache_pool": {"total_bytes_limit": _CACHE_BYTES},
            "data_copy_concurrency": {"limit": len(os.sched_getaffinity(0))},
            "file_io_concurrency": {"limit": _FILE_IO_THREADS},
            # half a minute: what takes longer is a RetryError
            "s3_request_retries": {"max_retries": 8, "initial_delay": "250ms", "max_delay": "8s"},
        }
    )


def open_images(address: str) -> Any:
    """Open the files below a local folder or `s3://` address; with S3, endpoint and keys come from AWS_*."""
    if not address.startswith(_S3):
        spec: dict[str, Any] = {"driver": "file", "path": f"{Path(address).resolve().as_posix()}/"}
    else:
        bucket, _, path = address.removeprefix(_S3).partition("/")
        spec = {"driver": "s3", "bucket": bucket, "path": f"{path.rstrip('/')}/"}
        if endpoint := os.environ.get("AWS_ENDPOINT_URL", ""):
            region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
            spec |= {"endpoint": endpoint, "aws_region": region}
        if "AWS_ACCESS_KEY_ID" in os.environ:
            # otherwise the driver looks for profiles first, and complains of every file that is not there
            spec["aws_credentials"] = {"type": "environment"}
    return ts.KvStore.open(spec, context=shared_context()).result()


def array_spec(shape: PlateShape, *, fresh_since: float = 0.0) -> Any:
    """Return how the plate's arrays are read and written, their metadata assumed.

    Args:
        shape: decides all of the metadata.
        fresh_since: what was cached before this time (seconds since 1970) is checked again.
    """
    return ts.Spec(
        {
            "driver": "zarr3",
            "metadata": shape.metadata(),
            "recheck_cached_data": fresh_since,
            # a file that is gone is an error, not a black field
            "fill_missing_data_reads": False,
            "store_data_equal_to_fill_value": True,
        }
    )


def open_array(spec: Any, images: Any, *, path: str) -> Any:
    """Open the array at a path below a plate's images without reading anything."""
    place = images / f"{path}/" if path else images
    return ts.open(spec, kvstore=place, open=True, assume_metadata=True, context=shared_context()).result()


def is_away(error: Exception) -> bool:
    """Whether tensorstore could not reach what holds the images, so that the same read may work later."""
    return str(error).startswith(_AWAY)


def _sharded(inner_chunk: list[int], *, dtype: str) -> dict[str, Any]:
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    configuration = {
        "chunk_shape": inner_chunk,
        "codecs": [little, _codec(dtype)],
        "index_codecs": [little, {"name": "crc32c"}],
        "index_location": "end",
    }
    return {"name": "sharding_indexed", "configuration": configuration}


def _codec(dtype: str) -> dict[str, Any]:
    """Lossless, and above all quick to undo: a crop is decompressed again in every epoch.

    On 16-bit fields LZ4 is undone in half the CPU time of Zstandard for a tenth more bytes (bench/store.py).
    """
    size = _num_bytes(dtype)
    shuffle = "shuffle" if size > 1 else "bitshuffle"
    return {
        "name": "blosc",
        "configuration": {"cname": "lz4", "clevel": 5, "shuffle": shuffle, "typesize": size, "blocksize": 0},
    }


def _num_bytes(dtype: str) -> int:
    return int(dtype.removeprefix("uint")) // 8


def _escaped(name: str) -> str:
    escaped = quote(name, safe=" ()+,;=@")
    return escaped.replace(".", "%2E") if set(escaped) == {"."} else escaped
