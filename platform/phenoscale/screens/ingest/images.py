"""Decode image files: TIFF (stacks and pages too), PNG and JPEG 2000, from the bytes of the source.

Whatever is wrong with a file ends as a BadImageError with its reason. Shapes: K planes, H, W pixels.
"""

from __future__ import annotations

import contextlib
import errno
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import tifffile
from PIL import Image

from phenoscale.errors import RetryError
from phenoscale.screens.ingest.locators import BadImageError, Locator, parse_locator
from phenoscale.screens.ingest.sources import SourceFiles

_TIFF: Final = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_PILLOW: Final = (b"\x89PNG\r\n\x1a\n", b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51")
_MODES: Final = {"L": "uint8", "RGB": "uint8", "RGBA": "uint8", "I;16": "uint16", "I;16B": "uint16"}
_TRANSIENT: Final = (errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ETIMEDOUT)


@dataclass(frozen=True)
class PixelFormat:
    """The number of planes, the size and the pixel type of an image."""

    planes: int
    height: int
    width: int
    dtype: str


class ImageFile(Protocol):
    """An opened image file."""

    def describe(self, locator: Locator) -> PixelFormat:
        """Return the format of a part of the file, without decoding it."""

    def read(self, locator: Locator) -> np.ndarray:
        """Return the pixels of a part of the file, [K, H, W], in the machine's byte order."""


class ImageFiles:
    """Image files of a source, each parsed once; a context that closes them.

    What the bytes are decides how a file is read, not the suffix of its name.
    """

    def __init__(self, sources: SourceFiles) -> None:
        self._sources = sources
        self._opened: dict[str, ImageFile] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> ImageFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.clear()
        self._stack.close()

    def describe(self, text: str) -> PixelFormat:
        """Return the format of the image that a locator names, without decoding it.

        Raises:
            BadImageError: it is missing, empty, damaged or of another kind.
            RetryError: the disk or the object store is away.
        """
        locator = parse_locator(text)
        with _bad_image_reasons(locator.file):
            return self._file(locator.file).describe(locator)

    def read(self, text: str) -> np.ndarray:
        """Return the pixels, [K, H, W], of the image that a locator names; raises as `describe` does."""
        locator = parse_locator(text)
        with _bad_image_reasons(locator.file):
            return self._file(locator.file).read(locator)

    def _file(self, name: str) -> ImageFile:
        if name not in self._opened:
            self._opened[name] = _open(self._sources.content(name), stack=self._stack)
        return self._opened[name]


@contextlib.contextmanager
def _bad_image_reasons(name: str) -> Iterator[None]:
    try:
        yield
    except (RetryError, MemoryError):
        raise
    except Exception as error:
        # on broken files decoders fail in their own ways: struct.error, zlib.error, DeflateError, SyntaxError
        if isinstance(error, OSError) and error.errno in _TRANSIENT:
            raise RetryError(f"{name} cannot be read now ({error}); run the same command again") from error
        raise BadImageError(f"{name}: {_reason(error)}") from error


def _open(content: bytes, *, stack: contextlib.ExitStack) -> ImageFile:
    source = io.BytesIO(content)
    if content.startswith(_TIFF):
        return _TiffImage(stack.enter_context(tifffile.TiffFile(source)))
    if content.startswith(_PILLOW):
        return _PillowImage(stack.enter_context(Image.open(source)))
    raise BadImageError("is neither TIFF, PNG nor JPEG 2000" if content else "is empty")


class _TiffImage:
    """A TIFF file whose planes are its pages, or, where they are stored otherwise, its first series."""

    def __init__(self, opened: Any) -> None:
        self._tiff = opened
        self._whole: np.ndarray | None = None
        series = opened.series[0]
        self._leading: tuple[int, ...] = tuple(series.shape[:-2])
        first = opened.pages[0]
        if first.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            raise BadImageError("is stored inverted (MINISWHITE); convert it to MINISBLACK")
        self._paged = first.ndim == 2 and len(opened.pages) == math.prod(self._leading)
        # pages of one series share their tags: reading them as frames of the first takes half the time
        opened.pages.useframes = self._paged and len(opened.series) == 1
        if not self._paged and series.axes.endswith("YXS"):
            self._leading = (*series.shape[:-3], series.shape[-1])

    def describe(self, locator: Locator) -> PixelFormat:
        first, last = self._planes(locator)
        shape = self._tiff.pages[0].shape if self._paged else self._planes_of_series().shape
        dtype = np.dtype(self._tiff.pages[0].dtype).name
        return PixelFormat(last - first, int(shape[-2]), int(shape[-1]), dtype)

    def read(self, locator: Locator) -> np.ndarray:
        first, last = self._planes(locator)
        if self._paged:
            pages = (self._tiff.pages[number] for number in range(first, last))
            return np.stack([page.asarray(maxworkers=1) for page in pages])
        return self._planes_of_series()[first:last]

    def _planes(self, locator: Locator) -> tuple[int, int]:
        """Return the first plane that a locator means and the one after its last."""
        total = math.prod(self._leading)
        if locator.index is not None and not self._leading:
            raise BadImageError("has no stack to take an index of")
        per_item = total if locator.index is None else total // self._leading[0]
        first = (locator.index or 0) * per_item
        if first >= total:
            raise BadImageError(f"has {self._leading[0]} items, index {locator.index} is past the end")
        if locator.page is None:
            return first, first + per_item
        if locator.page >= per_item:
            raise BadImageError(f"has {per_item} pages, page {locator.page} is past the end")
        return first + locator.page, first + locator.page + 1

    def _planes_of_series(self) -> np.ndarray:
        if self._whole is None:
            series = self._tiff.series[0]
            pixels = series.asarray()
            pixels = np.moveaxis(pixels, -1, -3) if series.axes.endswith("YXS") else pixels
            self._whole = pixels.reshape(-1, *pixels.shape[-2:])
        return self._whole


class _PillowImage:
    """A PNG or JPEG 2000 image: one gray plane, or the planes of a color image."""

    def __init__(self, image: Image.Image) -> None:
        self._image = image
        if image.mode not in _MODES:
            raise BadImageError(f"has pixels of mode {image.mode}; convert it to 8- or 16-bit gray or RGB")

    def describe(self, locator: Locator) -> PixelFormat:
        planes = len(self._image.getbands())
        if locator.index is not None or (locator.page or 0) >= planes:
            raise BadImageError(f"has {planes} pages and no stack; {locator} is past the end")
        width, height = self._image.size
        return PixelFormat(planes if locator.page is None else 1, height, width, _MODES[self._image.mode])

    def read(self, locator: Locator) -> np.ndarray:
        self.describe(locator)
        pixels = np.asarray(self._image)
        planes = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
        chosen = planes if locator.page is None else planes[locator.page : locator.page + 1]
        return chosen.astype(chosen.dtype.newbyteorder("="), copy=False)


def _reason(error: Exception) -> str:
    if isinstance(error, BadImageError):
        return str(error)
    text = " ".join(str(error).split())
    return f"cannot be read ({text[:200] or type(error).__name__})"
