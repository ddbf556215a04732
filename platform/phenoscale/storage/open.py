"""Choose the store that an address means: `s3://bucket/prefix`, or a local folder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from phenoscale.errors import UserError
from phenoscale.storage.interface import Storage
from phenoscale.storage.local import LocalStorage

_S3: Final = "s3://"


def is_remote(uri: str) -> bool:
    """Say whether an address is not a local path."""
    return "://" in uri and not uri.startswith("file://")


def open_storage(uri: str) -> Storage:
    """Open the store at a local folder or `s3://bucket/prefix`; the S3 endpoint comes from AWS_ENDPOINT_URL.

    Raises:
        UserError: for another scheme, or an S3 address without bucket.
    """
    if uri.startswith(_S3):
        from phenoscale.storage.s3 import S3Storage

        return S3Storage.open(uri)
    if is_remote(uri) or not uri:
        raise UserError(f"{uri!r} is no store that Phenoscale can open; give a folder or s3://bucket/prefix")
    return LocalStorage(Path(uri.removeprefix("file://")))


def read_uri(uri: str) -> bytes:
    """Return the bytes of a local file or an S3 object.

    Raises:
        UserError: when it is missing or access is denied.
        RetryError: when the store is away.
    """
    parent, _, name = uri.rstrip("/").rpartition("/")
    if not is_remote(uri):
        path = Path(uri.removeprefix("file://"))
        return LocalStorage(path.parent).read_bytes(path.name)
    return open_storage(parent).read_bytes(name)
