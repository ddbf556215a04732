"""A local folder as a store of bytes, and the atomic write that everything else relies on."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from phenoscale.errors import RetryError, UserError, is_disk_full
from phenoscale.storage.interface import ObjectInfo, check_key

TEMPORARY_PREFIX: Final = ".write-"


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a reader, even after a crash, sees the old bytes or the new ones, never a part.

    Raises:
        RetryError: when the disk, quota or file-size limit is full.
    """
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _temporary_beside(path, data) as temporary:
            temporary.replace(path)
            _sync_folder(path.parent)


@contextlib.contextmanager
def _temporary_beside(path: Path, data: bytes) -> Iterator[Path]:
    temporary = path.parent / f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(8)}"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise UserError(f"{path} is no file ({error.strerror}); check the path") from error
    except PermissionError as error:
        raise UserError(f"{path}: access denied ({error.strerror}); give this user access to it") from error
    except OSError as error:
        if is_disk_full(error):
            raise RetryError(
                f"no room to write {path} ({error.strerror}); free space, then repeat"
            ) from error
        raise


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
        with _explained(path):
            return path.read_bytes()

    def read_range(self, key: str, *, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`; past the end there are none."""
        path = self._path(key)
        with _explained(path), path.open("rb") as file:
            file.seek(start)
            return file.read(length)

    def write_bytes(self, key: str, data: bytes) -> None:
        """Write an object whole or not at all, replacing what was there."""
        write_atomic(self._path(key), data)

    def create_bytes(self, key: str, data: bytes) -> bool:
        """Write an object only if there is none; of several writers exactly one gets True."""
        path = self._path(key)
        with _explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with _temporary_beside(path, data) as temporary:
                try:
                    # unlike a rename, a hard link fails when the name is taken
                    os.link(temporary, path)
                except FileExistsError:
                    return False
                _sync_folder(path.parent)
                return True

    def exists(self, key: str) -> bool:
        """Say whether there is an object under the key."""
        return self._path(key).is_file()

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose key starts with the prefix, sorted by key."""
        start = self.folder / prefix.rpartition("/")[0]
        found = []
        for path in start.rglob("*"):
            key = path.relative_to(self.folder).as_posix()
            if key.startswith(prefix) and not path.name.startswith(TEMPORARY_PREFIX) and path.is_file():
                status = path.stat()
                etag = f"{status.st_size:x}-{status.st_mtime_ns:x}"
                found.append(ObjectInfo(key=key, size=status.st_size, etag=etag))
        yield from sorted(found, key=lambda info: info.key)

    def delete(self, key: str) -> None:
        """Remove an object; removing a missing one is no error."""
        path = self._path(key)
        with _explained(path):
            path.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.folder / check_key(key)
