"""A local folder as a store of bytes."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Self

from phenoscale.files import (
    TEMPORARY_PREFIX,
    create_atomic,
    explained,
    is_temporary,
    link_atomic,
    write_atomic,
)
from phenoscale.storage.interface import ObjectInfo, check_key


class LocalStorage:
    """A folder whose files are the objects; made when the first object is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def uri(self) -> str:
        """The folder's path."""
        return str(self.folder)

    def at(self, prefix: str) -> Self:
        """Return the store of the objects below `prefix/`."""
        return type(self)(self._path(prefix))

    def read_bytes(self, key: str) -> bytes:
        """Return an object's bytes; a missing one is a UserError."""
        path = self._path(key)
        with explained(path):
            return path.read_bytes()

    def read_range(self, key: str, *, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`; past the end there are none."""
        path = self._path(key)
        with explained(path), path.open("rb") as file:
            file.seek(start)
            return file.read(length)

    def write_bytes(self, key: str, data: bytes) -> None:
        """Write an object whole or not at all, replacing what was there."""
        write_atomic(self._path(key), data)

    def create_bytes(self, key: str, data: bytes) -> bool:
        """Write an object only if there is none; of several writers exactly one gets True."""
        return create_atomic(self._path(key), data)

    def exists(self, key: str) -> bool:
        """Say whether there is an object under the key."""
        return self._path(key).is_file()

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose key starts with the prefix, sorted by key."""
        start = self.folder / prefix.rpartition("/")[0]
        found = []
        for path in start.rglob("*"):
            key = path.relative_to(self.folder).as_posix()
            if key.startswith(prefix) and not is_temporary(path.name) and path.is_file():
                found.append(_info(key, path))
        yield from sorted(found, key=lambda info: info.key)

    def folders(self, prefix: str = "") -> Sequence[str]:
        """Return the names directly below a folder that are folders themselves, sorted; "" is the whole."""
        folder = self._path(prefix) if prefix else self.folder
        if not folder.is_dir():
            return []
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())

    def info(self, key: str) -> ObjectInfo | None:
        """Return an object's size and etag, None when there is none."""
        try:
            return _info(key, self._path(key))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def find(self, keys: Collection[str]) -> dict[str, ObjectInfo]:
        """Return size and etag of those of the objects that there are, in as few requests as it takes."""
        return {key: info for key in keys if (info := self.info(key)) is not None}

    def age_seconds(self, key: str) -> float | None:
        """Return how long ago an object was written, None when there is none.

        The file system, whose clock need not be this machine's, is asked for its time by writing a file.
        """
        path = self._path(key)
        try:
            written = path.stat().st_mtime
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=TEMPORARY_PREFIX) as probe:
                return os.fstat(probe.fileno()).st_mtime - written
        except (FileNotFoundError, NotADirectoryError):
            return None

    def put_file(self, key: str, path: Path, *, sha256: str) -> ObjectInfo:
        """Make a local file, which is not written to again, the object; it appears whole or not at all."""
        target = self._path(key)
        link_atomic(path, target)
        return _info(key, target)

    def get_file(self, key: str, path: Path) -> None:
        """Make the object, which is not written to again, a local file; it appears whole or not at all."""
        link_atomic(self._path(key), path)

    def delete(self, key: str) -> None:
        """Remove an object; removing a missing one is no error."""
        path = self._path(key)
        with explained(path):
            path.unlink(missing_ok=True)

    def delete_below(self, prefix: str) -> None:
        """Remove all objects below `prefix/`."""
        folder = self._path(prefix)
        with explained(folder):
            if folder.is_dir():
                shutil.rmtree(folder)

    def _path(self, key: str) -> Path:
        return self.folder / check_key(key)


def _info(key: str, path: Path) -> ObjectInfo:
    status = path.stat()
    return ObjectInfo(key=key, size=status.st_size, etag=f"{status.st_size:x}-{status.st_mtime_ns:x}")
