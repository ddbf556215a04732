"""Every crop of every field once, in store order, for inference and probing.

Shapes: B crops, C channels, H W pixels.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phenoscale.loading.fields import ManifestFields, PendingPixels
from phenoscale.loading.grid import Layout, corners_of
from phenoscale.loading.plan import IntArray
from phenoscale.loading.prefetch import Prefetcher

_AHEAD_FIELDS = 64
_AHEAD_BYTES = 64 * 2**20


@dataclass(frozen=True, eq=False)
class CropBatch:
    """Crops that are embedded together.

    Attributes:
        crops_BCHW: raw intensities in the store's type.
        rows: row of each crop's field in the fields that were iterated, [B].
        corners: each crop's top and left in its field, [B, 2].
    """

    crops_BCHW: NDArray[Any]
    rows: IntArray
    corners: IntArray


def iterate_fields(
    fields: ManifestFields,
    *,
    crop_size: int,
    batch_size: int,
    layout: Layout = "grid",
    rows: IntArray | None = None,
    depth: int = 2,
) -> Iterator[CropBatch]:
    """Batches of the crops of the given fields (all by default), in store order; the last one may be smaller.

    A field's crops follow each other, so a caller can reduce them as they come. A thread reads ahead.

    Raises:
        UserError: a field is smaller than a crop, before anything is read.
    """
    order = fields.in_store_order(rows)
    sizes = np.unique(np.stack([fields.heights[order], fields.widths[order]], axis=1), axis=0).tolist()
    corners = {(h, w): corners_of(h, w, size=crop_size, layout=layout) for h, w in sizes}
    crops = _crops(fields, order=order, corners=corners, crop_size=crop_size)
    return _prefetched(_batches(crops, batch_size=batch_size), depth=depth)


def num_crops(
    fields: ManifestFields, *, crop_size: int, layout: Layout = "grid", rows: IntArray | None = None
) -> int:
    """How many crops `iterate_fields` yields, for plans and progress bars."""
    chosen = np.arange(len(fields)) if rows is None else rows
    shapes = np.stack([fields.heights[chosen], fields.widths[chosen]], axis=1)
    sizes, counts = np.unique(shapes, axis=0, return_counts=True)
    per_field = [len(corners_of(h, w, size=crop_size, layout=layout)) for h, w in sizes.tolist()]
    return int(np.dot(per_field, counts))


def _prefetched(batches: Iterator[CropBatch], *, depth: int) -> Iterator[CropBatch]:
    with Prefetcher(batches, depth=depth, label="field reader") as ahead:
        yield from ahead


_Crop = tuple[NDArray[Any], int, tuple[int, int]]


def _crops(
    fields: ManifestFields,
    *,
    order: IntArray,
    corners: dict[tuple[int, int], list[tuple[int, int]]],
    crop_size: int,
) -> Iterator[_Crop]:
    for pending in _reading_ahead(fields, order=order):
        pixels_CHW = pending.result()
        for top, left in corners[pixels_CHW.shape[1], pixels_CHW.shape[2]]:
            crop = pixels_CHW[:, top : top + crop_size, left : left + crop_size]
            yield crop, pending.row, (top, left)


def _reading_ahead(fields: ManifestFields, *, order: IntArray) -> Iterator[PendingPixels]:
    """Reads of whole fields, started before they are needed: up to 64 fields or 64 MiB."""
    started: deque[PendingPixels] = deque()
    for row in order.tolist():
        ahead = min(_AHEAD_FIELDS, max(1, _AHEAD_BYTES // fields.num_bytes(row)))
        while len(started) >= ahead:
            yield started.popleft()
        started.append(fields.start_field(row))
    yield from started


def _batches(crops: Iterator[_Crop], *, batch_size: int) -> Iterator[CropBatch]:
    assert batch_size > 0, f"a batch holds at least one crop, got {batch_size}"
    waiting: list[_Crop] = []
    for crop in crops:
        waiting.append(crop)
        if len(waiting) == batch_size:
            yield _batch(waiting)
            waiting = []
    if waiting:
        yield _batch(waiting)


def _batch(crops: list[_Crop]) -> CropBatch:
    pixels, rows, corners = zip(*crops, strict=True)
    return CropBatch(
        crops_BCHW=np.stack(pixels),
        rows=np.array(rows, dtype=np.int64),
        corners=np.array(corners, dtype=np.int64).reshape(-1, 2),
    )
