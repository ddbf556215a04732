"""The fields of a manifest beside the stores that hold their pixels.

Stores may hold different stains: then a crop has the channels of all of them, and those that its own store
lacks are zero. Shapes: N rows, C channels, H W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from phenoscale.errors import RetryError, UserError
from phenoscale.loading.grid import check_fits
from phenoscale.schema.keys import PLATE_KEY, WELL_KEY
from phenoscale.schema.labels import key_labels
from phenoscale.schema.manifest import Manifest, read_manifest
from phenoscale.schema.screen import channel_indices
from phenoscale.screens.layout import is_away
from phenoscale.screens.store import ScreenStore, open_screen, united_channels

_PLACE = ["store", "plate_index", "field_index", "height", "width"]
_ABSENT = -1

Absent = Literal["error", "zero"]
"""What a channel is that a store lacks: a UserError, or zeros wherever it is read."""


@dataclass(frozen=True, eq=False)
class ManifestFields:
    """Fields joined with their well columns and their opened stores.

    Attributes:
        frame: one row per field, in manifest order: well columns, `split`, `weight`, and where the pixels are
            (`store`, `plate_index`, `field_index`, `height`, `width`). A *row* is a position in it.
        stores: opened stores, in the order of `frame.store`.
        channels: stains of every crop read from here, in this order; a stain may come twice, for an encoder
            that was trained on one more than there are.
    """

    frame: pd.DataFrame
    stores: tuple[ScreenStore, ...]
    channels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The pixels' type, the same in all stores."""
        return np.dtype(self.stores[0].header.dtype)

    @property
    def intensity_scale(self) -> float:
        """What intensities are divided by before self-standardization, the same in all stores."""
        return self.stores[0].header.intensity_scale

    @cached_property
    def heights(self) -> NDArray[np.int64]:
        """Pixel rows of each field."""
        return self.frame["height"].to_numpy(np.int64)

    @cached_property
    def widths(self) -> NDArray[np.int64]:
        """Pixel columns of each field."""
        return self.frame["width"].to_numpy(np.int64)

    @cached_property
    def present(self) -> NDArray[np.bool_]:
        """Which channels each store has, [number of stores, C]; the others read as zeros."""
        return np.array([[name in store.channels for name in self.channels] for store in self.stores])

    @cached_property
    def plates(self) -> NDArray[np.int64]:
        """A number for the plate of each row, [N]: rows of one plate have the same, in whichever store."""
        order = self.in_store_order()
        numbers = np.empty(len(self), dtype=np.int64)
        numbers[order] = pd.factorize(key_labels(self.frame, PLATE_KEY)[order])[0]
        return numbers

    def present_of(self, rows: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """Which channels the given rows have, [N, C]; None if all of them have all."""
        if self._is_complete:
            return None
        present_NC = self.present[self._places[rows, 0]]
        return None if present_NC.all() else present_NC

    def reading(self, channels: Sequence[str]) -> "ManifestFields":
        """The same fields with other stains, in the given order.

        Raises:
            UserError: no store has one of them.
        """
        channel_indices(channels, known=united_channels(self.stores))
        return replace(self, channels=tuple(channels))

    def by_channels(self, rows: NDArray[np.int64]) -> "list[tuple[ManifestFields, NDArray[np.int64]]]":
        """The given rows apart by the channels that they have, each part reading no others."""
        present_NC = self.present_of(rows)
        if present_NC is None:
            return [(self, rows)]
        sets, codes = np.unique(present_NC, axis=0, return_inverse=True)
        names = np.array(self.channels, dtype=object)
        return [
            (self.reading(names[present].tolist()), rows[codes.reshape(-1) == code])
            for code, present in enumerate(sets)
        ]

    def rows(self, split: str) -> NDArray[np.int64]:
        """Rows of one split, in manifest order.

        Raises:
            UserError: the split has no field.
        """
        rows = np.flatnonzero((self.frame["split"] == split).to_numpy())
        if len(rows) == 0:
            counts = self.frame["split"].value_counts().to_dict()
            raise UserError(
                f"the manifest has no field in split {split!r}, it has {counts}; curate with another split"
            )
        return rows

    def in_store_order(self, rows: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """The given rows (all by default) in the order in which their pixels lie in the stores."""
        chosen = np.arange(len(self)) if rows is None else np.asarray(rows)
        stores, plates, fields = (self._places[chosen, column] for column in range(3))
        return chosen[np.lexsort((fields, plates, stores))]

    def check_crop_size(self, size: int) -> None:
        """Raise a UserError unless every field is at least as large as a crop."""
        check_fits(int(self.heights.min()), int(self.widths.min()), size=size)

    def num_bytes(self, row: int) -> int:
        """Size of one decoded field."""
        return int(self.heights[row] * self.widths[row]) * len(self.channels) * self.dtype.itemsize

    def start_field(self, row: int) -> "PendingPixels":
        """Start reading a whole field."""
        store, plate, field = self._places[row, :3]
        return PendingPixels(self.stores[store].field(plate, field), fields=self, row=row)

    def start_crop(self, row: int, *, top: int, left: int, size: int) -> "PendingPixels":
        """Start reading a square crop that lies inside the field."""
        store, plate, field = self._places[row, :3]
        pending = self.stores[store].crop(plate, field, top=top, left=left, size=size)
        return PendingPixels(pending, fields=self, row=row)

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        return self.frame[_PLACE].to_numpy(np.int64)

    @cached_property
    def _is_complete(self) -> bool:
        return bool(self.present.all())

    @cached_property
    def _channel_indices(self) -> tuple[NDArray[np.intp] | None, ...]:
        """Where each channel lies in each store; None for a store whose pixels are right as they are."""
        positions = [{name: index for index, name in enumerate(store.channels)} for store in self.stores]
        wanted = [np.array([known.get(name, _ABSENT) for name in self.channels]) for known in positions]
        return tuple(
            None if np.array_equal(mine, np.arange(len(known))) else mine
            for mine, known in zip(wanted, positions, strict=True)
        )

    def describe(self, row: int) -> str:
        """Where a field lies, for error messages."""
        field = self.frame.iloc[row]
        place = ", ".join(f"{name} {field[name]}" for name in WELL_KEY)
        return f"field {field['field_id']} ({place}) of {self.stores[int(field['store'])].folder}"


@dataclass(frozen=True, eq=False)
class PendingPixels:
    """Pixels on their way: `result()` waits for them."""

    future: Any
    fields: ManifestFields
    row: int

    def result(self) -> NDArray[Any]:
        """Pixels [C, H, W] with the channels in the order of `fields.channels`; absent ones are zero.

        Raises:
            UserError: the store cannot be decoded there.
            RetryError: the store is away.
        """
        try:
            pixels: NDArray[Any] = self.future.result()
        except ValueError as error:
            if is_away(error):
                raise RetryError(f"{self.fields.describe(self.row)} cannot be read now: {error}") from error
            raise UserError(
                f"{self.fields.describe(self.row)} cannot be decoded ({error}); the store is damaged: ingest "
                "that plate again"
            ) from error
        except OSError as error:
            raise RetryError(f"{self.fields.describe(self.row)} cannot be read: {error}") from error
        indices = self.fields._channel_indices[self.fields._places[self.row, 0]]
        if indices is None:
            return pixels
        chosen: NDArray[Any] = pixels[indices]
        chosen[indices == _ABSENT] = 0
        return chosen


def open_fields(
    *, manifest: str | Path = "", stores: Sequence[str | Path] = (), absent: Absent = "error"
) -> ManifestFields:
    """Open the fields of a manifest, or all fields of some stores.

    Args:
        manifest: its folder; the channels are its own.
        stores: folders, in place of a manifest: as if one selected all of their fields with weight 1 and
            split `train`. The channels are those of the first store, then those of the others that are new.
        absent: what a channel is that a store lacks.

    Raises:
        UserError: a store is gone, has changed since the manifest was made, or lacks a channel.
    """
    fields = _of_manifest(manifest) if manifest else _of_stores(stores)
    if absent == "error":
        refuse_absent(fields)
    return fields


def _of_manifest(folder: str | Path) -> ManifestFields:
    manifest = read_manifest(folder)
    stores = tuple(
        _open_unchanged(ref.uri, digest=ref.digest, manifest=str(folder)) for ref in manifest.stores
    )
    frame = _join(manifest, stores=stores, source=str(folder))
    return ManifestFields(frame=frame, stores=stores, channels=()).reading(manifest.channels)


def _of_stores(paths: Sequence[str | Path]) -> ManifestFields:
    if not paths:
        raise UserError("no store was given: name at least one ScreenStore folder that `ingest` wrote")
    stores = tuple(open_screen(path) for path in paths)
    frames = [_located(store, index=index) for index, store in enumerate(stores)]
    frame = pd.concat(frames, ignore_index=True).assign(split="train", weight=1.0)
    return ManifestFields(frame=frame, stores=stores, channels=united_channels(stores))


def refuse_absent(fields: ManifestFields) -> None:
    """Raise a UserError unless every store has every channel that is read."""
    for store, present in zip(fields.stores, fields.present, strict=True):
        lacking = [name for name, is_there in zip(fields.channels, present, strict=True) if not is_there]
        if lacking:
            raise UserError(
                f"the store {store.folder} has the channels {list(store.channels)}, but "
                f"{list(fields.channels)} are read: {lacking} are absent; read channels that all stores "
                "have, leave the store out, or take a model that reads any channels (channel-agnostic)"
            )


def select_rows(fields: ManifestFields, rows: NDArray[np.int64]) -> ManifestFields:
    """The same stores with some of the fields, in the given order."""
    return replace(fields, frame=fields.frame.iloc[rows].reset_index(drop=True))


def _open_unchanged(uri: str, *, digest: str, manifest: str) -> ScreenStore:
    store = open_screen(uri)
    if store.digest != digest:
        raise UserError(
            f"the store {uri} has digest {store.digest[:12]}, but manifest {manifest} was made from digest "
            f"{digest[:12]}: the store has changed since; run `phenoscale curate` again"
        )
    return store


def _located(store: ScreenStore, *, index: int) -> pd.DataFrame:
    """A store's well columns and where each field's pixels are."""
    plates = store.header.plates
    place = store.wells["plate_index"].to_numpy()
    return store.wells.assign(
        store=index,
        height=np.array([plate.height for plate in plates])[place],
        width=np.array([plate.width for plate in plates])[place],
    )


def _join(manifest: Manifest, *, stores: tuple[ScreenStore, ...], source: str) -> pd.DataFrame:
    wells = pd.concat([_located(store, index=index) for index, store in enumerate(stores)], ignore_index=True)
    wells = wells.drop(columns=["split", "weight"], errors="ignore")
    chosen = manifest.fields[["field_id", "store", "split", "weight"]]
    joined = chosen.merge(
        wells, on=["field_id", "store"], how="left", validate="one_to_one", indicator="_found"
    )
    lost = joined.loc[joined["_found"] != "both", "field_id"]
    if len(lost):
        raise UserError(
            f"manifest {source} selects field {lost.iloc[0]} (and {len(lost) - 1} more) that its store does "
            "not hold; run `phenoscale curate` again"
        )
    return joined.drop(columns="_found")
