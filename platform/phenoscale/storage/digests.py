"""Digests: sha256 of bytes and files, and of what a folder or prefix lists; no place enters one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from phenoscale.errors import UserError
from phenoscale.storage.open import is_remote, open_storage


def digest_bytes(data: bytes) -> str:
    """Return the sha256 of bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def digest_file(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_entries(entries: dict[str, str]) -> str:
    """Return the digest of named digests: equal names and digests give an equal one, in any order."""
    whole = hashlib.sha256()
    for name in sorted(entries):
        # JSON-free and unambiguous: a name cannot hold a NUL, a digest has a fixed length
        whole.update(name.encode() + b"\x00" + entries[name].encode() + b"\x00")
    return whole.hexdigest()


def file_names(folder: Path) -> list[str]:
    """Return the relative names of all files under a folder, sorted, with `/` between the parts."""
    return sorted(path.relative_to(folder).as_posix() for path in _walk(folder))


def _walk(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _walk(Path(entry.path))
            else:
                yield Path(entry.path)


def digest_listing(place: str, *, without: Path | None = None) -> str:
    """Return the digest of what a folder or S3 prefix lists: names, sizes, and modification times or etags.

    Nothing is read, so that terabytes cost a walk; a file that was written again counts as another one.

    Args:
        place: a local folder, or an address; one that is an object's own key lists that object.
        without: folder that is left out, such as a workspace inside.

    Raises:
        UserError: when an address holds no object.
    """
    entries = _remote_entries(place) if is_remote(place) else _local_entries(Path(place), without=without)
    return digest_entries(entries)


def _local_entries(folder: Path, *, without: Path | None) -> dict[str, str]:
    entries = {}
    for path in _walk(folder):
        if without is not None and path.is_relative_to(without):
            continue
        try:
            status = path.stat()
        except FileNotFoundError:
            continue  # a link to nothing holds no byte that could enter
        entries[path.relative_to(folder).as_posix()] = f"{status.st_size}:{status.st_mtime_ns}"
    return entries


def _remote_entries(uri: str) -> dict[str, str]:
    scheme, _, place = uri.rstrip("/").partition("://")
    parent, _, name = place.rpartition("/")
    # an object is listed by the text of its own key, which its neighbors' keys may start with, too
    found = open_storage(f"{scheme}://{parent}").list(name) if parent else open_storage(uri).list()
    entries = {
        _below(info.key, name if parent else ""): f"{info.size}:{info.etag}"
        for info in found
        if not parent or info.key == name or info.key.startswith(name + "/")
    }
    if not entries:
        raise UserError(f"{uri} holds no object; check the address, or run the step that writes it")
    return entries


def _below(key: str, name: str) -> str:
    return key.removeprefix(name).removeprefix("/")
