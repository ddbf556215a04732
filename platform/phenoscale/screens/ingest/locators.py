"""Locators: where an image lies, `folder/file.tif`, and which part of the file: `#page=3` or `#index=17`.

A page is one plane of pixels, counted from 0 through the file (or through the item that `index` names). An
index is an item of the stack's first axis, counted from 0.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from phenoscale.errors import UserError
from phenoscale.storage import is_remote


class BadImageError(Exception):
    """One image cannot be used; its field is quarantined with this reason and the ingest goes on."""


@dataclass(frozen=True)
class Locator:
    """A parsed locator: the file as it was written, and the part of it."""

    file: str
    page: int | None = None
    index: int | None = None

    def __str__(self) -> str:
        parts = [
            f"{name}={value}"
            for name, value in (("index", self.index), ("page", self.page))
            if value is not None
        ]
        return f"{self.file}#{'&'.join(parts)}" if parts else self.file


def parse_locator(text: str) -> Locator:
    """Parse a locator such as `week4/a.tif#index=17`.

    Raises:
        BadImageError: there is no file in it, or a part that is not `page=` or `index=` with a whole number.
    """
    file, mark, fragment = text.partition("#")
    if not file:
        raise BadImageError("no image is named" if not text else f"{text}: no file is named before '#'")
    if not mark:
        return Locator(file)
    parts = dict(parse_qsl(fragment, keep_blank_values=True))
    if (
        not parts
        or not set(parts) <= {"page", "index"}
        or not all(_is_count(value) for value in parts.values())
    ):
        raise BadImageError(f"{text}: the part after '#' must be page=N or index=N, counted from 0")
    return Locator(file, **{name: int(value) for name, value in parts.items()})


def resolve_file(file: str, *, base: str) -> str:
    """Return the path or URI of a locator's file, which lies under the base folder or S3 prefix.

    Raises:
        UserError: it lies elsewhere, where its bytes would not enter the key of the ingest.
    """
    if is_remote(file) or is_remote(base):
        uri = file if is_remote(file) else f"{base.rstrip('/')}/{file}"
        inside = posixpath.normpath(uri).startswith(posixpath.normpath(base).rstrip("/") + "/")
        return _inside(uri, inside=inside, file=file, base=base)
    root = posixpath.normpath(Path(base).absolute().as_posix())
    path = posixpath.normpath(posixpath.join(root, file))
    return _inside(path, inside=path.startswith(root.rstrip("/") + "/"), file=file, base=base)


def _inside(place: str, *, inside: bool, file: str, base: str) -> str:
    if inside:
        return place
    raise UserError(
        f"image {file!r} lies outside {base!r}; set `path` to the folder or s3:// prefix that holds all"
    )


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit()
