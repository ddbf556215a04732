"""Content digests: sha256 of bytes, files and whole folders, independent of where they lie."""

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


def digest_path(path: Path) -> str:
    """Return the digest of a file's bytes, or of a folder's (relative name, file digest) pairs.

    Raises:
        UserError: when there is nothing at the path.
    """
    if path.is_dir():
        return digest_entries({name: digest_file(path / name) for name in file_names(path)})
    if path.is_file():
        return digest_file(path)
    raise UserError(f"{path} does not exist; check the path, or run the step that writes it")


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


def digest_uri(uri: str) -> str:
    """Return the digest of a local path's content, or of a remote prefix's (key, size, etag) triples."""
    if not is_remote(uri):
        return digest_path(Path(uri.removeprefix("file://")))
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
    return digest_entries(entries)


def _below(key: str, name: str) -> str:
    return key.removeprefix(name).removeprefix("/")
