"""The fields of a manifest beside the stores that hold their pixels.

Shapes: C channels, H W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from phenoscale.errors import RetryError, UserError
from phenoscale.loading.grid import check_fits
from phenoscale.schema.manifest import Manifest, read_manifest
from phenoscale.schema.screen import channel_indices
from phenoscale.screens.store import ScreenStore, open_screen

_PLACE = ["store", "plate_index", "field_index", "height", "width"]


@dataclass(frozen=True, eq=False)
class ManifestFields:
    """Fields joined with their well columns and their opened stores.

    Attributes:
        frame: one row per field, in manifest order: well columns, `split`, `weight`, and where the pixels are
            (`store`, `plate_index`, `field_index`, `height`, `width`). A *row* is a position in it.
        stores: opened stores, in the order of `frame.store`.
        channels: stains of every crop read from here, in this order.
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
    def _channel_indices(self) -> tuple[list[int] | None, ...]:
        wanted = [list(channel_indices(self.channels, known=store.channels)) for store in self.stores]
        identity = [list(range(len(store.channels))) for store in self.stores]
        return tuple(None if mine == all_ else mine for mine, all_ in zip(wanted, identity, strict=True))

    def describe(self, row: int) -> str:
        """Where a field lies, for error messages."""
        field = self.frame.iloc[row]
        return (
            f"field {field['field_id']} (experiment {field['experiment']}, plate {field['plate']}, well "
            f"{field['well']}) of {self.stores[int(field['store'])].folder}"
        )


@dataclass(frozen=True, eq=False)
class PendingPixels:
    """Pixels on their way: `result()` waits for them."""

    future: Any
    fields: ManifestFields
    row: int

    def result(self) -> NDArray[Any]:
        """Pixels [C, H, W] with the channels in the order of `fields.channels`.

        Raises:
            UserError: the store cannot be decoded there.
            RetryError: the store is away.
        """
        try:
            pixels: NDArray[Any] = self.future.result()
        except ValueError as error:
            raise UserError(
                f"{self.fields.describe(self.row)} cannot be decoded ({error}); the store is damaged: ingest "
                "that plate again"
            ) from error
        except OSError as error:
            raise RetryError(f"{self.fields.describe(self.row)} cannot be read: {error}") from error
        indices = self.fields._channel_indices[self.fields._places[self.row, 0]]
        return pixels if indices is None else pixels[indices]


def load_manifest_fields(folder: str | Path, *, channels: Sequence[str] = ()) -> ManifestFields:
    """Read a manifest and open the stores that it selects from.

    Args:
        folder: the manifest's folder.
        channels: stains to read and their order; the manifest's own by default.

    Raises:
        UserError: a store is gone, has changed since the manifest was made, or lacks a channel.
    """
    manifest = read_manifest(folder)
    stores = tuple(
        _open_unchanged(ref.uri, digest=ref.digest, manifest=str(folder)) for ref in manifest.stores
    )
    return _checked(
        ManifestFields(
            frame=_join(manifest, stores=stores, source=str(folder)),
            stores=stores,
            channels=tuple(channels) or manifest.channels,
        )
    )


def load_store_fields(paths: Sequence[str | Path], *, channels: Sequence[str] = ()) -> ManifestFields:
    """All fields of some stores, as if a manifest selected each with weight 1 and split `train`.

    Args:
        paths: the stores' folders.
        channels: stains to read and their order; those of the first store by default.
    """
    if not paths:
        raise UserError("no store was given: name at least one ScreenStore folder that `ingest` wrote")
    stores = tuple(open_screen(path) for path in paths)
    frames = [_located(store, index=index) for index, store in enumerate(stores)]
    frame = pd.concat(frames, ignore_index=True).assign(split="train", weight=1.0)
    return _checked(
        ManifestFields(frame=frame, stores=stores, channels=tuple(channels) or stores[0].channels)
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


def _checked(fields: ManifestFields) -> ManifestFields:
    """The fields, once it is certain that one preprocessing fits all stores and none lacks a channel."""
    first = fields.stores[0].header
    for store in fields.stores:
        header = store.header
        if (header.dtype, header.intensity_scale) != (first.dtype, first.intensity_scale):
            raise UserError(
                f"the stores differ: {fields.stores[0].folder} holds {first.dtype} with intensity_scale "
                f"{first.intensity_scale:g}, {store.folder} {header.dtype} with {header.intensity_scale:g}; "
                "one encoder needs one scale: ingest them alike"
            )
    fields._channel_indices  # noqa: B018  (raises a UserError that names an unknown channel)
    return fields
