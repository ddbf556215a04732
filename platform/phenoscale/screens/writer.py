"""Write the plates of a screen store, field by field; `screen.json`, written last, makes the store count."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from phenoscale.files import write_atomic
from phenoscale.schema.keys import PLATE_KEY
from phenoscale.schema.screen import FORMAT_VERSION, SCREEN_FILE, PlateEntry, ScreenHeader, header_to_json
from phenoscale.schema.wells import COLUMNS
from phenoscale.screens import ome
from phenoscale.screens.layout import (
    IMAGES_FOLDER,
    METADATA_FILE,
    PLATE_FILE,
    QUALITY_FILE,
    WELLS_FILE,
    PlateShape,
    array_path,
    array_spec,
    image_path,
    layout_of,
    open_array,
    open_images,
    plate_folder,
    well_path,
)
from phenoscale.screens.quality import FieldMeasures, quality_table

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
    """Writes one plate, field by field, and finishes it.

    A writer starts from an empty plate: what a killed predecessor left is removed.

    Attributes:
        store: the store's folder.
        wells: the plate's rows of the well table, in the order in which fields are appended.
        format: what the pixels are.
    """

    store: Path
    wells: pd.DataFrame
    format: PlateFormat
    _kept: list[int] = field(default_factory=list)
    _measures: list[FieldMeasures] = field(default_factory=list)
    _pixel_digests: list[str] = field(default_factory=list)
    _gathered: list[np.ndarray] = field(default_factory=list)
    _num_written: int = 0
    _pending: deque[tuple[Any, int]] = field(default_factory=deque)
    _pending_bytes: int = 0

    def __post_init__(self) -> None:
        names = self.wells[list(PLATE_KEY[1:])].drop_duplicates()
        assert len(names) == 1, f"a PlateWriter writes one plate, got {len(names)}"
        self.experiment, self.plate = str(names["experiment"].iloc[0]), str(names["plate"].iloc[0])
        self.folder = self.store / plate_folder(self.experiment, self.plate)
        self.shape = PlateShape(
            layout_of(self.wells["object"]),
            num_fields=len(self.wells),
            num_channels=len(self.format.channels),
            height=self.format.height,
            width=self.format.width,
            dtype=self.format.dtype,
        )
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / IMAGES_FOLDER).mkdir(parents=True)
        self._images = open_images(str(self.folder / IMAGES_FOLDER))
        self._spec = array_spec(self.shape)

    def append(self, row: int, pixels_CHW: np.ndarray, *, measures: FieldMeasures) -> None:
        """Write the pixels of one row of `wells`; rows come in ascending order, one left out is dropped."""
        expected = (self.shape.num_channels, self.shape.height, self.shape.width)
        assert pixels_CHW.shape == expected, f"a field of {pixels_CHW.shape} in a plate of {expected}"
        assert pixels_CHW.dtype == np.dtype(self.shape.dtype), (
            f"a field of {pixels_CHW.dtype} in a plate of {self.shape.dtype}"
        )
        assert not self._kept or row > self._kept[-1], f"row {row} comes after row {self._kept[-1]}"
        pixels_CHW = np.ascontiguousarray(pixels_CHW)
        self._pixel_digests.append(hashlib.sha256(pixels_CHW.data).hexdigest())
        self._kept.append(row)
        self._measures.append(measures)
        if self.shape.layout == "fields":
            well = self.wells.iloc[row]
            place = open_array(self._spec, self._images, path=array_path(well["well"], well["site"]))
            self._await_later(place.write(pixels_CHW), num_bytes=pixels_CHW.nbytes)
        else:
            self._gathered.append(pixels_CHW)
            if len(self._gathered) == self.shape.fields_per_shard:
                self._write_gathered()

    def commit(self, *, source_digest: str = "") -> PlateEntry:
        """Write the plate's tables and metadata; return when all of it is written.

        Args:
            source_digest: digest of the files that the pixels came from, kept in `plate.json`.
        """
        assert self._kept, "a plate without fields cannot be committed"
        kept = self.wells.iloc[self._kept].reset_index(drop=True)
        entry = PlateEntry(
            experiment=self.experiment,
            plate=self.plate,
            folder=plate_folder(self.experiment, self.plate),
            layout=self.shape.layout,
            num_fields=len(kept),
            height=self.format.height,
            width=self.format.width,
            digest=_plate_digest(kept, self._pixel_digests),
        )
        record = {"entry": asdict(entry), "format": asdict(self.format), "source_digest": source_digest}
        quality = quality_table(kept, self._measures, channels=self.format.channels)
        if self._gathered:
            self._write_gathered()
        for name, content in self._metadata(kept, quality=quality, record=record):
            self._await_later(self._images.write(name, content), num_bytes=len(content))
        while self._pending:
            self._await_oldest()
        kept.to_parquet(self.folder / WELLS_FILE, index=False)
        quality.to_parquet(self.folder / QUALITY_FILE, index=False)
        write_atomic(self.folder / PLATE_FILE, (json.dumps(record, indent=2) + "\n").encode())
        return entry

    def _write_gathered(self) -> None:
        crops_NCHW = np.stack(self._gathered)
        self._gathered.clear()
        end = self._num_written + len(crops_NCHW)
        array = open_array(self._spec, self._images, path="")
        self._await_later(array[self._num_written : end].write(crops_NCHW), num_bytes=crops_NCHW.nbytes)
        self._num_written = end

    def _metadata(
        self, kept: pd.DataFrame, *, quality: pd.DataFrame, record: dict[str, Any]
    ) -> Iterable[tuple[str, bytes]]:
        """Yield the metadata files of the images: of the one array of crops, or of an OME-Zarr plate."""
        attributes = {"phenoscale": {"format_version": FORMAT_VERSION, **record}}
        if self.shape.layout == "crops":
            metadata = {**self.shape.metadata(), "shape": [len(kept), *self.shape.metadata()["shape"][1:]]}
            yield METADATA_FILE, ome.array_metadata(metadata, attributes=attributes)
            return
        sites = {str(well): rows["site"].tolist() for well, rows in kept.groupby("well", sort=False)}
        wells = self.wells["well"].unique().tolist()
        yield METADATA_FILE, ome.plate_group(sites, name=self.plate, all_wells=wells, attributes=attributes)
        image = ome.image_group(
            self.format.channels,
            pixel_size_um=self.format.pixel_size_um,
            windows=[_window(quality, channel) for channel in self.format.channels],
            largest=int(np.iinfo(self.format.dtype).max),
        )
        array = ome.array_metadata(self.shape.metadata())
        for well, numbers in sites.items():
            yield f"{well_path(well)}/{METADATA_FILE}", ome.well_group(numbers)
            for site in numbers:
                yield f"{image_path(well, site)}/{METADATA_FILE}", image
                yield f"{array_path(well, site)}/{METADATA_FILE}", array

    def _await_later(self, future: Any, *, num_bytes: int) -> None:
        self._pending.append((future, num_bytes))
        self._pending_bytes += num_bytes
        while self._pending_bytes > _MAX_PENDING_BYTES:
            self._await_oldest()

    def _await_oldest(self) -> None:
        future, num_bytes = self._pending.popleft()
        future.result()
        self._pending_bytes -= num_bytes


def read_plate(folder: Path) -> tuple[PlateEntry, PlateFormat]:
    """Return what a finished plate is, from its folder."""
    record: dict[str, Any] = json.loads((folder / PLATE_FILE).read_text(encoding="utf-8"))
    pixels = {**record["format"], "channels": tuple(record["format"]["channels"])}
    return PlateEntry(**record["entry"]), PlateFormat(**pixels)


def write_header(store: Path, header: ScreenHeader) -> None:
    """Write `screen.json`, the last file of a store."""
    write_atomic(store / SCREEN_FILE, header_to_json(header).encode())


def _window(quality: pd.DataFrame, channel: str) -> tuple[int, int]:
    """Return the gray levels that show most of a plate's fields well: from the ground to bright spots."""
    start = int(quality[f"background_{channel}"].median())
    return start, start + max(1, int(quality[f"contrast_{channel}"].quantile(0.75)))


def _plate_digest(wells: pd.DataFrame, pixel_digests: list[str]) -> str:
    """Digest the known columns but the locators, and the pixels: files may move, the plate is the same."""
    content = {name: wells[name].tolist() for name in COLUMNS if name != "image"}
    others = {str(name): wells[name].astype(str).tolist() for name in wells.columns if name not in COLUMNS}
    text = json.dumps([content, others, pixel_digests], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
