"""The local cache of buckets, laid out as they are: a path in it and an `s3://` address name each other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final
from urllib.parse import quote

from phenoscale.storage.interface import Storage
from phenoscale.storage.open import open_storage

_SCHEME: Final = "s3://"


def cache_folder() -> Path:
    """Return the folder of everything that is cached: $PHENOSCALE_CACHE, or `~/.cache/phenoscale`."""
    return Path(os.environ.get("PHENOSCALE_CACHE") or Path.home() / ".cache" / "phenoscale").absolute()


def local_path(address: str) -> Path:
    """Return where the object or prefix at an `s3://` address lies on this machine, once it is fetched."""
    return _buckets() / address.removeprefix(_SCHEME).rstrip("/")


def address_of(path: Path | str) -> str | None:
    """Return the `s3://` address whose copy a local path is or would be, None for any other path."""
    try:
        below = Path(path).absolute().relative_to(_buckets())
    except ValueError:
        return None
    return f"{_SCHEME}{below.as_posix()}" if below.parts else None


def storage_at(folder: Path | str) -> Storage:
    """Open the store that a folder is a copy of, or else the folder itself."""
    return open_storage(address_of(folder) or str(folder))


def _buckets() -> Path:
    """Buckets of equal names on two servers are not the same bucket."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    return cache_folder() / "s3" / (quote(endpoint, safe="") or "aws")
