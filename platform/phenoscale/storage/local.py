"""A local folder as a store of bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from phenoscale.files import create_atomic, explained, is_temporary, write_atomic
from phenoscale.storage.interface import ObjectInfo, check_key


class LocalStorage:
    """A folder whose files are the objects; made when the first object is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def uri(self) -> str:
        """The folder's path."""
        return str(self.folder)

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
                status = path.stat()
                etag = f"{status.st_size:x}-{status.st_mtime_ns:x}"
                found.append(ObjectInfo(key=key, size=status.st_size, etag=etag))
        yield from sorted(found, key=lambda info: info.key)

    def delete(self, key: str) -> None:
        """Remove an object; removing a missing one is no error."""
        path = self._path(key)
        with explained(path):
            path.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.folder / check_key(key)
