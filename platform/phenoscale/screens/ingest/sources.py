"""The raw files of a plate: listed before anything is read, then each read once, whole, and hashed as it is.

What a decoder gets are the bytes that were hashed. A file that another reader of it still waits for is kept.
"""

from __future__ import annotations

import dataclasses
import posixpath
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from phenoscale.errors import RetryError
from phenoscale.screens.ingest.locators import BadImageError, resolve_file
from phenoscale.storage import digest_bytes, is_remote, open_storage, read_uri

MISSING: Final = "missing"
UNREAD: Final = "unread"
_SHOWN_FILES: Final = 3


def list_files(names: Iterable[str], *, base: str) -> dict[str, str]:
    """Return size and time (or etag) of every file, without reading one; `missing` where there is none.

    Args:
        names: files as locators name them.
        base: local folder or S3 prefix that they lie under.
    """
    places = {name: resolve_file(name, base=base) for name in sorted(set(names))}
    if not is_remote(base):
        return {name: _local_stamp(Path(place)) for name, place in places.items()}
    if not places:
        return {}
    shared = posixpath.commonpath([posixpath.dirname(uri) for uri in places.values()])
    shared = shared.replace("s3:/", "s3://", 1)
    found = {f"{shared}/{info.key}": f"{info.size}:{info.etag}" for info in open_storage(shared).list()}
    return {name: found.get(uri, MISSING) for name, uri in places.items()}


def files_of(images: Iterable[Iterable[str]]) -> set[str]:
    """Return the files that the locators of some fields name."""
    return {locator.partition("#")[0] for image in images for locator in image} - {""}


@dataclasses.dataclass
class _File:
    """What is known of one file; `num_waiting` are those who will still ask for its content."""

    stamp: str
    num_waiting: int = 0
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)
    content: bytes | None = None
    digest: str = UNREAD


class SourceFiles:
    """Files under one folder or S3 prefix, safe to read from several threads.

    Attributes:
        listing: size and time (or etag) of every file, as `list_files` found them before.
        num_bytes_read: bytes that were read so far.
    """

    def __init__(self, base: str, *, listing: Mapping[str, str]) -> None:
        self._base = base
        self.listing = dict(listing)
        self._files = {name: _File(stamp) for name, stamp in self.listing.items()}
        self.num_bytes_read = 0
        self._counting = threading.Lock()

    @property
    def digests(self) -> dict[str, str]:
        """The sha256 of every file that was read; `missing` or `unread` for the others."""
        return {name: file.digest for name, file in self._files.items()}

    def expect(self, uses: Mapping[str, int]) -> None:
        """Say how many will ask for each file, and then `release` it: it is held until the last has."""
        for name, number in uses.items():
            self._files[name].num_waiting = number

    def content(self, name: str) -> bytes:
        """Return the bytes of a file, which is read unless it is held.

        Raises:
            BadImageError: there is no such file.
            UserError: access to it is denied.
            RetryError: the object store is away.
        """
        file = self._files[name]
        if file.stamp == MISSING:
            file.digest = MISSING
            raise BadImageError("there is no such file")
        with file.lock:
            if file.content is None:
                file.content = read_uri(resolve_file(name, base=self._base))
                file.digest = digest_bytes(file.content)
                with self._counting:
                    self.num_bytes_read += len(file.content)
            return file.content

    def release(self, names: Iterable[str]) -> None:
        """Say that one of those who use these files is done with them."""
        for name in names:
            file = self._files[name]
            with file.lock:
                file.num_waiting -= 1
                if file.num_waiting <= 0:
                    file.content = None

    def check_unchanged(self) -> None:
        """Raise a RetryError if a file is not what it was when it was listed."""
        now = list_files(self.listing, base=self._base)
        changed = [name for name, stamp in self.listing.items() if now[name] != stamp]
        if changed:
            raise RetryError(
                f"{len(changed)} files changed while they were read ({', '.join(changed[:_SHOWN_FILES])}); "
                "nothing of their plate was kept: run the same command again when they are complete"
            )


def _local_stamp(path: Path) -> str:
    if not path.is_file():
        return MISSING
    status = path.stat()
    return f"{status.st_size}:{status.st_mtime_ns}"
