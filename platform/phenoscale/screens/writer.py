"""Write a screen store plate by plate; a plate counts only once its `plate.json`, written last, is there."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from phenoscale.files import write_atomic
from phenoscale.schema.keys import PLATE_KEY
from phenoscale.schema.screen import SCREEN_FILE, PlateEntry, ScreenHeader, header_to_json
from phenoscale.schema.wells import COLUMNS
from phenoscale.screens.layout import (
    IMAGES_FOLDER,
    PLATE_FILE,
    WELLS_FILE,
    PlateShape,
    create_array,
    plate_folder,
    retry_when_disk_full,
)

_MAX_PENDING_BYTES: Final = 128 * 2**20


@dataclass(frozen=True)
class PlateFormat:
    """What the pixels of a plate are.

    Attributes:
        channels: stain names in the order of the channel axis.
        dtype: `uint8` or `uint16`.
        height: pixel rows of every field.
        width: pixel columns of every field.
        intensity_scale: what pixel values are divided by before self-standardization.
        pixel_size_um: edge of a pixel in micrometers, where known.
    """

    channels: tuple[str, ...]
    dtype: str
    height: int
    width: int
    intensity_scale: float
    pixel_size_um: float | None = None


@dataclass
class PlateWriter:
    """Writes one plate, field by field, and commits it.

    A writer starts from an empty plate: what a killed predecessor left is removed. A plate that was committed
    for the same request is found with `committed_plate` and needs no writer.

    Attributes:
        store: the store's folder.
        wells: the plate's rows of the well table, in the order in which fields are appended.
        format: what the pixels are.
        request: digest of everything that decides what the plate becomes, for `committed_plate`.
    """

    store: Path
    wells: pd.DataFrame
    format: PlateFormat
    request: str
    _kept: list[int] = field(default_factory=list)
    _pixel_digests: list[str] = field(default_factory=list)
    _pending: deque[tuple[Any, int]] = field(default_factory=deque)
    _pending_bytes: int = 0

    def __post_init__(self) -> None:
        names = self.wells[list(PLATE_KEY[1:])].drop_duplicates()
        assert len(names) == 1, f"a PlateWriter writes one plate, got {len(names)}"
        self.experiment, self.plate = str(names["experiment"].iloc[0]), str(names["plate"].iloc[0])
        self.folder = self.store / plate_folder(self.experiment, self.plate)
        with retry_when_disk_full(f"plate {self.experiment}/{self.plate}"):
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            self._array = create_array(
                self.folder / IMAGES_FOLDER, self._shape(), attributes=self._attributes()
            )

    def append(self, row: int, pixels_CHW: np.ndarray) -> None:
        """Write the pixels of one row of `wells`; rows come in ascending order, one left out is dropped."""
        shape = self._shape()
        expected = (shape.num_channels, shape.height, shape.width)
        assert pixels_CHW.shape == expected, f"a field of {pixels_CHW.shape} in a plate of {expected}"
        assert pixels_CHW.dtype == np.dtype(shape.dtype), (
            f"a field of {pixels_CHW.dtype} in a plate of {shape.dtype}"
        )
        assert not self._kept or row > self._kept[-1], f"row {row} comes after row {self._kept[-1]}"
        pixels_CHW = np.ascontiguousarray(pixels_CHW)
        self._pixel_digests.append(hashlib.sha256(pixels_CHW.data).hexdigest())
        self._pending.append((self._array[len(self._kept)].write(pixels_CHW), pixels_CHW.nbytes))
        self._pending_bytes += pixels_CHW.nbytes
        self._kept.append(row)
        while self._pending_bytes > _MAX_PENDING_BYTES:
            self._await_oldest()

    def commit(self, *, source_digest: str = "") -> PlateEntry:
        """Wait until every field is written, write the well table, and then make the plate count.

        Args:
            source_digest: digest of the files that the pixels came from, kept in `plate.json`.
        """
        assert self._kept, "a plate without fields cannot be committed"
        while self._pending:
            self._await_oldest()
        kept = self.wells.iloc[self._kept].reset_index(drop=True)
        with retry_when_disk_full(f"plate {self.experiment}/{self.plate}"):
            shape = [len(kept), *([None] * 3)]
            self._array.resize(exclusive_max=shape, resize_metadata_only=True).result()
            kept.to_parquet(self.folder / WELLS_FILE, index=False)
            entry = PlateEntry(
                experiment=self.experiment,
                plate=self.plate,
                folder=plate_folder(self.experiment, self.plate),
                num_fields=len(kept),
                height=self.format.height,
                width=self.format.width,
                digest=_plate_digest(kept, self._pixel_digests),
            )
            record = {
                "entry": asdict(entry),
                "format": asdict(self.format),
                "request": self.request,
                "source_digest": source_digest,
            }
            write_atomic(self.folder / PLATE_FILE, (json.dumps(record, indent=2) + "\n").encode())
        return entry

    def _await_oldest(self) -> None:
        future, num_bytes = self._pending.popleft()
        with retry_when_disk_full(f"plate {self.experiment}/{self.plate}"):
            future.result()
        self._pending_bytes -= num_bytes

    def _shape(self) -> PlateShape:
        f = self.format
        return PlateShape(len(self.wells), len(f.channels), f.height, f.width, f.dtype)

    def _attributes(self) -> dict[str, Any]:
        attributes = {"experiment": self.experiment, "plate": self.plate, **asdict(self.format)}
        return {**attributes, "channels": list(self.format.channels)}


def committed_plate(
    store: Path, *, experiment: str, plate: str, request: str
) -> tuple[PlateEntry, PlateFormat] | None:
    """Return a plate that an earlier run committed for the same request, if there is one."""
    record = _plate_record(store / plate_folder(experiment, plate))
    if record is None or record["request"] != request:
        return None
    pixels = {**record["format"], "channels": tuple(record["format"]["channels"])}
    return PlateEntry(**record["entry"]), PlateFormat(**pixels)


def write_header(store: Path, header: ScreenHeader) -> None:
    """Write `screen.json`, the last file of a store."""
    with retry_when_disk_full(f"{store / SCREEN_FILE}"):
        write_atomic(store / SCREEN_FILE, header_to_json(header).encode())


def _plate_record(folder: Path) -> Mapping[str, Any] | None:
    file = folder / PLATE_FILE
    if not file.is_file():
        return None
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return record


def _plate_digest(wells: pd.DataFrame, pixel_digests: list[str]) -> str:
    """Digest the known columns but the locators, and the pixels: files may move, the plate is the same."""
    content = {name: wells[name].tolist() for name in COLUMNS if name != "image"}
    others = {str(name): wells[name].astype(str).tolist() for name in wells.columns if name not in COLUMNS}
    text = json.dumps([content, others, pixel_digests], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
