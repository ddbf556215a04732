"""The interface of a store of bytes, kept by the local folder and by S3; one contract suite checks both."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol, Self

from phenoscale.errors import UserError

_RESERVED: Final = ("", ".", "..")


@dataclasses.dataclass(frozen=True)
class ObjectInfo:
    """One object of a store: `etag` changes when the object's bytes do."""

    key: str
    size: int
    etag: str


class Storage(Protocol):
    """A store of bytes under keys such as `plates/Week4/images.zarr/c/0`."""

    @property
    def uri(self) -> str:
        """The folder or `s3://bucket/prefix` that the keys are relative to."""

    def at(self, prefix: str) -> Self:
        """Return the store of the objects below `prefix/`."""

    def read_bytes(self, key: str) -> bytes:
        """Return an object's bytes; a missing one is a UserError."""

    def read_range(self, key: str, *, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`; past the end there are none."""

    def write_bytes(self, key: str, data: bytes) -> None:
        """Write an object whole or not at all, replacing what was there."""

    def create_bytes(self, key: str, data: bytes) -> bool:
        """Write an object only if there is none; of several writers exactly one gets True."""

    def exists(self, key: str) -> bool:
        """Say whether there is an object under the key."""

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose key starts with the prefix, sorted by key."""

    def folders(self, prefix: str = "") -> Sequence[str]:
        """Return the names directly below a folder that are folders themselves, sorted; "" is the whole."""

    def info(self, key: str) -> ObjectInfo | None:
        """Return an object's size and etag, None when there is none."""

    def find(self, keys: Collection[str]) -> dict[str, ObjectInfo]:
        """Return size and etag of those of the objects that there are, in as few requests as it takes."""

    def age_seconds(self, key: str) -> float | None:
        """Return how long ago an object was written, None when there is none.

        Both times are told by the store's own clock: the clocks of its users do not matter.
        """

    def put_file(self, key: str, path: Path, *, sha256: str) -> ObjectInfo:
        """Make a local file, which is not written to again, the object; it appears whole or not at all.

        Args:
            key: of the object.
            path: the file.
            sha256: of its bytes, which a remote store checks on arrival.
        """

    def get_file(self, key: str, path: Path) -> None:
        """Make the object, which is not written to again, a local file; it appears whole or not at all."""

    def delete(self, key: str) -> None:
        """Remove an object; removing a missing one is no error."""

    def delete_below(self, prefix: str) -> None:
        """Remove all objects below `prefix/`."""


def check_key(key: str) -> str:
    """Return a key that means the same object in every store.

    Raises:
        UserError: for an absolute key, an empty part, `.` or `..`.
    """
    if any(part in _RESERVED for part in key.split("/")) or "\\" in key or "\x00" in key:
        raise UserError(
            f"storage key {key!r} is not a relative path of plain names; write it as a/b/c, without . or .."
        )
    return key
