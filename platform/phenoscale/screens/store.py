"""Read a screen store: any crop of any field, asynchronously, without reading the rest of the field.

tensorstore's threads do the reading and decompressing; it aborts in forked processes, so read from threads.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from phenoscale.errors import UserError
from phenoscale.schema.screen import ScreenHeader, read_header
from phenoscale.screens.layout import (
    IMAGES_FOLDER,
    QUALITY_FILE,
    WELLS_FILE,
    PlateShape,
    array_path,
    array_spec,
    open_array,
    open_images,
)
from phenoscale.stages import fetch_output, locate

# An opened field takes 7 kB, and opening it again 30 microseconds.
_MAX_OPENED_FIELDS: Final = 2048


@dataclass(frozen=True)
class _PlateImages:
    """The images of one plate: where they lie, how an array is opened, and the path of each; or all crops."""

    images: Any
    spec: Any
    paths: tuple[str, ...] = ()
    crops: Any = None


class ScreenStore:
    """An opened screen store.

    Attributes:
        folder: where the store's header and tables lie; for a store in a bucket, their local copies.
        header: channels, dtype, intensity scale, pixel size and plates.
    """

    def __init__(self, folder: Path, *, header: ScreenHeader) -> None:
        self.folder = folder
        self.header = header
        self._plates: dict[int, _PlateImages] = {}
        self._opening = threading.Lock()
        self._opened_at = time.time()
        self._process = os.getpid()
        self._field_array = functools.lru_cache(_MAX_OPENED_FIELDS)(self._open_field)

    @property
    def channels(self) -> tuple[str, ...]:
        """Stain names in the order of the channel axis."""
        return self.header.channels

    @property
    def digest(self) -> str:
        """The digest of the store's content."""
        return self.header.digest

    @functools.cached_property
    def wells(self) -> pd.DataFrame:
        """The well tables of all plates, with `plate_index` and `field_index`, as `read` takes them."""
        frames = []
        for index, plate in enumerate(self.header.plates):
            frame = pd.read_parquet(self.folder / plate.folder / WELLS_FILE)
            frame.insert(0, "plate_index", index)
            frame.insert(1, "field_index", range(len(frame)))
            frames.append(frame)
        return pd.concat(frames, ignore_index=True)

    def quality(self, plate_index: int) -> pd.DataFrame:
        """Return the measures of a plate's fields (`screens.quality`), in the order of its well table."""
        return pd.read_parquet(self.folder / self.header.plates[plate_index].folder / QUALITY_FILE)

    def height(self, plate_index: int) -> int:
        """Return the pixel rows of a plate's fields."""
        return self.header.plates[plate_index].height

    def width(self, plate_index: int) -> int:
        """Return the pixel columns of a plate's fields."""
        return self.header.plates[plate_index].width

    def read(self, plate_index: int, field_index: int) -> np.ndarray:
        """Return all pixels of one field, [C, H, W]."""
        pixels_CHW: np.ndarray = self.field(plate_index, field_index).result()
        return pixels_CHW

    def field(self, plate_index: int, field_index: int) -> Any:
        """Start reading one field; return a future whose `result()` is [C, H, W]."""
        return self._field_array(plate_index, field_index).read()

    def crop(self, plate_index: int, field_index: int, *, top: int, left: int, size: int) -> Any:
        """Start reading one square crop; return a future whose `result()` is [C, size, size].

        The crop must lie inside the field. At most four inner chunks are read for a crop of up to 256 pixels.
        """
        array = self._field_array(plate_index, field_index)
        return array[:, top : top + size, left : left + size].read()

    def _open_field(self, plate_index: int, field_index: int) -> Any:
        plate = self._plate_images(plate_index)
        if plate.crops is not None:
            return plate.crops[field_index]
        return open_array(plate.spec, plate.images, path=plate.paths[field_index])

    def _plate_images(self, plate_index: int) -> _PlateImages:
        plate = self._plates.get(plate_index)
        if plate is not None:
            return plate
        assert os.getpid() == self._process, (
            "a store was opened before a fork; open it again in the new process"
        )
        with self._opening:
            if plate_index not in self._plates:
                self._plates[plate_index] = self._open_plate(plate_index)
            return self._plates[plate_index]

    def _open_plate(self, plate_index: int) -> _PlateImages:
        entry = self.header.plates[plate_index]
        shape = PlateShape(
            entry.layout,
            num_fields=entry.num_fields,
            num_channels=len(self.channels),
            height=entry.height,
            width=entry.width,
            dtype=self.header.dtype,
        )
        folder = self.folder / entry.folder
        images = open_images(locate(folder / IMAGES_FOLDER))
        spec = array_spec(shape, fresh_since=self._opened_at)
        if entry.layout == "crops":
            return _PlateImages(images, spec, crops=open_array(spec, images, path=""))
        wells = pd.read_parquet(folder / WELLS_FILE, columns=["well", "site"])
        return _PlateImages(images, spec, paths=tuple(map(array_path, wells["well"], wells["site"])))


def open_screen(path: str | Path) -> ScreenStore:
    """Open a screen store, a local folder or the `s3://` address of one; there images are read in place.

    Raises:
        UserError: it is not a complete screen store, or a plate of it is gone.
        RetryError: the object store is away.
    """
    folder = fetch_output(path)
    header = read_header(folder)
    for plate in header.plates:
        if not (folder / plate.folder / WELLS_FILE).is_file():
            raise UserError(
                f"{folder}: plate {plate.experiment}/{plate.plate} is gone; ingest the screen again"
            )
    return ScreenStore(folder, header=header)


def common_channels(stores: Sequence[ScreenStore]) -> tuple[str, ...]:
    """Return the channels of the stores, which must have the same, in the same order, on the same scale.

    Raises:
        UserError: two stores differ in channels, pixel type or intensity scale.
    """
    first = stores[0]
    for store in stores[1:]:
        if store.channels != first.channels:
            raise UserError(
                f"the stores have different channels: {'|'.join(first.channels)} in {first.folder} and "
                f"{'|'.join(store.channels)} in {store.folder}; ingest them with the same `channels`, or "
                "unite them (`channels: union`) for encoders that read any channels"
            )
    _check_pixels(stores)
    return first.channels


def united_channels(stores: Sequence[ScreenStore]) -> tuple[str, ...]:
    """Return every channel that some store has: those of the first store, then new ones as they appear.

    Raises:
        UserError: two stores differ in pixel type or intensity scale.
    """
    _check_pixels(stores)
    return tuple(dict.fromkeys(name for store in stores for name in store.channels))


def _check_pixels(stores: Sequence[ScreenStore]) -> None:
    first = stores[0]
    for store in stores[1:]:
        scales = [(s.header.dtype, s.header.intensity_scale) for s in (first, store)]
        if scales[0] != scales[1]:
            raise UserError(
                f"the stores have different pixels: {scales[0]} in {first.folder} and {scales[1]} in "
                f"{store.folder} (type, intensity_scale), but one encoder needs one scale; ingest them with "
                "the same `intensity_scale`"
            )
