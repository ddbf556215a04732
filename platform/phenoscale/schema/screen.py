"""The header of a screen store: channels, pixel type, intensity scale, and the plates with their digests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from phenoscale.errors import UserError

SCREEN_FILE: Final = "screen.json"
FORMAT_VERSION: Final = 2
DTYPES: Final = ("uint8", "uint16")

Layout = Literal["fields", "crops"]
"""How a plate's pixels lie: an image a field (OME-Zarr), or single-cell crops in one array a plate."""


@dataclass(frozen=True)
class PlateEntry:
    """One plate of a store.

    Attributes:
        experiment: the experiment that the plate belongs to; `plate` is unique only inside it.
        plate: the plate's name.
        folder: the plate's folder, relative to the store.
        layout: one image a field of view, or one array of all cell crops.
        num_fields: image objects (fields of view or cell crops) of the plate.
        height: pixel rows of each of them.
        width: pixel columns of each of them.
        digest: sha256 over the plate's well table and every field's pixels; independent of codec and paths.
    """

    experiment: str
    plate: str
    folder: str
    layout: Layout
    num_fields: int
    height: int
    width: int
    digest: str


@dataclass(frozen=True)
class ScreenHeader:
    """What holds for a whole screen store.

    Attributes:
        screen: the screen's name.
        channels: stain names in the order of the array's channel axis.
        dtype: `uint8` or `uint16`.
        intensity_scale: what pixel values are divided by before self-standardization.
        pixel_size_um: edge of a pixel in micrometers, where known.
        plates: the plates, in the order of `plate_index`.
    """

    screen: str
    channels: tuple[str, ...]
    dtype: str
    intensity_scale: float
    pixel_size_um: float | None
    plates: tuple[PlateEntry, ...]

    def __post_init__(self) -> None:
        check_channels(self.channels)
        check_dtype(self.dtype)
        if not (np.isfinite(self.intensity_scale) and self.intensity_scale > 0):
            raise UserError(
                f"intensity_scale is {self.intensity_scale}; pixel values are divided by it, so it must be a "
                "positive number, such as 255 for 8-bit and 65535 for 16-bit images"
            )

    @property
    def digest(self) -> str:
        """The digest of the store's content: header values and the plates' digests, no paths."""
        content = {name: value for name, value in asdict(self).items() if name != "plates"}
        content["plates"] = [
            [p.experiment, p.plate, p.num_fields, p.height, p.width, p.digest] for p in self.plates
        ]
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def channel_indices(self, names: Sequence[str]) -> tuple[int, ...]:
        """Return the positions of named stains on the channel axis.

        Raises:
            UserError: a name is not a channel of this screen.
        """
        return channel_indices(names, known=self.channels)


def channel_indices(names: Sequence[str], *, known: Sequence[str]) -> tuple[int, ...]:
    """Return the positions of channel names among the known ones, or say which name is not known."""
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(
            f"unknown channel {', '.join(map(repr, unknown))}; the known channels are {', '.join(known)}: "
            "choose among them"
        )
    return tuple(list(known).index(name) for name in names)


def check_channels(channels: Sequence[str]) -> None:
    """Raise a UserError unless the channels are different stain names that can be joined by `|`."""
    if not channels:
        raise UserError("a screen has no channels; name at least one stain, such as DNA")
    bad = [name for name in channels if not name.strip() or "|" in name]
    if bad:
        raise UserError(
            f"channel name {bad[0]!r} is empty or contains '|', which joins channel names; rename it"
        )
    twice = sorted({name for name in channels if list(channels).count(name) > 1})
    if twice:
        raise UserError(
            f"channel {twice[0]!r} is named twice in {'|'.join(channels)}; channel names must differ"
        )


def check_dtype(dtype: str) -> None:
    """Raise a UserError unless pixels of this type can be stored."""
    if dtype not in DTYPES:
        raise UserError(
            f"pixels of type {dtype!r} cannot be stored; images must be {' or '.join(DTYPES)}: convert them"
        )


def header_to_json(header: ScreenHeader) -> str:
    """Return the text of `screen.json`."""
    content = {"format": "phenoscale.screen", "format_version": FORMAT_VERSION, **asdict(header)}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def read_header(folder: Path) -> ScreenHeader:
    """Read the header of a screen store.

    Raises:
        UserError: the folder is not a complete screen store.
    """
    file = folder / SCREEN_FILE
    if not file.is_file():
        raise UserError(
            f"{folder} is not a screen store (it has no {SCREEN_FILE}); make one with `phenoscale ingest`"
        )
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return _header_from(content, file=file)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{file} cannot be read as a screen header ({error}); ingest the screen again"
        ) from error


def _header_from(content: Mapping[str, Any], *, file: Path) -> ScreenHeader:
    version = content["format_version"]
    if version != FORMAT_VERSION:
        raise UserError(
            f"{file} is a screen store of format version {version}, but this version of Phenoscale reads and "
            f"writes {FORMAT_VERSION} (an OME-Zarr plate a plate); ingest the screen again"
        )
    return ScreenHeader(
        screen=content["screen"],
        channels=tuple(content["channels"]),
        dtype=content["dtype"],
        intensity_scale=float(content["intensity_scale"]),
        pixel_size_um=content["pixel_size_um"],
        plates=tuple(PlateEntry(**plate) for plate in content["plates"]),
    )
