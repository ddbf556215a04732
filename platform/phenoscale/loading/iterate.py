"""Every crop of every field once, for inference and probing: in store order, or in groups that are a mixture.

Shapes: B crops, C channels, H W pixels, N fields.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phenoscale.errors import UserError
from phenoscale.loading.grid import Layout, corners_of
from phenoscale.loading.plan import IntArray
from phenoscale.loading.prefetch import Prefetcher

if TYPE_CHECKING:
    from phenoscale.loading.fields import ManifestFields, PendingPixels

_AHEAD_FIELDS = 64
_AHEAD_BYTES = 64 * 2**20
NO_ROW = -1


@dataclass(frozen=True, eq=False)
class CropBatch:
    """Crops that are embedded together.

    Attributes:
        crops_BCHW: raw intensities in the store's type.
        rows: row of each crop's field in the fields that were iterated, [B]; NO_ROW: a crop that comes again
            to complete a group, whose embedding is not wanted.
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
    corners = _corners(fields, rows=order, crop_size=crop_size, layout=layout)
    crops = _crops(fields, order=order, corners=corners, crop_size=crop_size)
    return _prefetched(_batches(crops, batch_size=batch_size), depth=depth)


def iterate_groups(
    fields: ManifestFields,
    *,
    crop_size: int,
    batch_size: int,
    group_size: int,
    layout: Layout = "grid",
    rows: IntArray | None = None,
) -> Iterator[CropBatch]:
    """The same crops in groups of `group_size` that each hold crops of different fields of one plate.

    A plate's fields come in the order of a hash of their ids, so neighbors share groups by chance only. So
    many fields at a time make groups: the first crops of all of them, then the second crops, and so on. The
    plate's last fields are completed by its first ones. So the groups of a plate depend on which of its
    fields are asked for, and on nothing else. A batch is of one plate and holds whole groups: up to
    `batch_size` crops, which must be a multiple. `group_size` decoded fields are in memory at once.

    Raises:
        UserError: a field is smaller than a crop, or a plate has a single field, before anything is read.
    """
    assert batch_size % group_size == 0, f"{batch_size} crops are no whole groups of {group_size}"
    chosen = np.arange(len(fields)) if rows is None else rows
    plates = [chosen[fields.plates[chosen] == plate] for plate in np.unique(fields.plates[chosen])]
    for mine in plates:
        if len(mine) < 2:
            raise UserError(
                f"{fields.describe(int(mine[0]))} is the only one of its plate, but this encoder takes "
                "statistics over a plate (ghost_batch): embed at least 2 fields of each plate, or use "
                "another encoder"
            )
    corners = _corners(fields, rows=chosen, crop_size=crop_size, layout=layout)

    def batches() -> Iterator[CropBatch]:
        for mine in plates:
            crops = _grouped(
                fields, order=_hashed_order(fields, mine), corners=corners, size=(group_size, crop_size)
            )
            yield from _batches(crops, batch_size=batch_size)

    return _prefetched(batches(), depth=2)


def crops_per_field(
    fields: ManifestFields, *, crop_size: int, layout: Layout = "grid", rows: IntArray | None = None
) -> IntArray:
    """How many crops the given fields (all by default) are cut into, [N]."""
    chosen = np.arange(len(fields)) if rows is None else rows
    shapes = np.stack([fields.heights[chosen], fields.widths[chosen]], axis=1)
    sizes, codes = np.unique(shapes, axis=0, return_inverse=True)
    counts = [len(corners_of(h, w, size=crop_size, layout=layout)) for h, w in sizes.tolist()]
    return np.array(counts, dtype=np.int64)[codes.reshape(-1)]


def num_crops(
    fields: ManifestFields, *, crop_size: int, layout: Layout = "grid", rows: IntArray | None = None
) -> int:
    """How many crops `iterate_fields` yields, for plans and progress bars."""
    return int(crops_per_field(fields, crop_size=crop_size, layout=layout, rows=rows).sum())


def _prefetched(batches: Iterator[CropBatch], *, depth: int) -> Iterator[CropBatch]:
    with Prefetcher(batches, depth=depth, label="field reader") as ahead:
        yield from ahead


_Crop = tuple[NDArray[Any], int, tuple[int, int]]
_Corners = dict[tuple[int, int], list[tuple[int, int]]]
"""Top and left of each crop, by height and width of the field."""


def _corners(fields: ManifestFields, *, rows: IntArray, crop_size: int, layout: Layout) -> _Corners:
    sizes = np.unique(np.stack([fields.heights[rows], fields.widths[rows]], axis=1), axis=0).tolist()
    return {(h, w): corners_of(h, w, size=crop_size, layout=layout) for h, w in sizes}


def _crops(fields: ManifestFields, *, order: IntArray, corners: _Corners, crop_size: int) -> Iterator[_Crop]:
    for pending in _reading_ahead(fields, order=order):
        pixels_CHW = pending.result()
        for top, left in corners[pixels_CHW.shape[1], pixels_CHW.shape[2]]:
            crop = pixels_CHW[:, top : top + crop_size, left : left + crop_size]
            yield crop, pending.row, (top, left)


def _hashed_order(fields: ManifestFields, rows: IntArray) -> IntArray:
    names = fields.frame["field_id"].to_numpy(str)[rows]
    hashes = [hashlib.sha256(name.encode()).digest() for name in names]
    return rows[sorted(range(len(rows)), key=hashes.__getitem__)]


def _grouped(
    fields: ManifestFields, *, order: IntArray, corners: _Corners, size: tuple[int, int]
) -> Iterator[_Crop]:
    """The crops of one plate; `size` is that of a group, in fields, and of a crop, in pixels."""
    group_size, crop_size = size
    completed = np.resize(order, -(-len(order) // group_size) * group_size)
    wanted = np.where(np.arange(len(completed)) < len(order), completed, NO_ROW)
    reading = _reading_ahead(fields, order=completed)
    for start in range(0, len(completed), group_size):
        rows = wanted[start : start + group_size].tolist()
        pixels = [pending.result() for pending in islice(reading, group_size)]
        for top, left in corners[pixels[0].shape[1], pixels[0].shape[2]]:
            for field_CHW, row in zip(pixels, rows, strict=True):
                yield field_CHW[:, top : top + crop_size, left : left + crop_size], row, (top, left)


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
