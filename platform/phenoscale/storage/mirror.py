"""The local cache of buckets, laid out as they are: a path in it and an `s3://` address name each other."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote

from phenoscale.errors import UserError
from phenoscale.storage.interface import Storage
from phenoscale.storage.open import is_remote, open_storage

_SCHEME: Final = "s3://"
_NOTES: Final = "in-cache"
_DEFAULT_GB: Final = 50
_IN_USE: Final[dict[Path, IO[str]]] = {}


def cache_folder() -> Path:
    """Return the folder of everything that is cached: $PHENOSCALE_CACHE, or `~/.cache/phenoscale`."""
    return Path(os.environ.get("PHENOSCALE_CACHE") or Path.home() / ".cache" / "phenoscale").absolute()


def local_path(place: str) -> Path:
    """Return a local path itself, and where what is at an `s3://` address lies here once it is fetched."""
    if not place.startswith(_SCHEME):
        return Path(place)
    return _buckets() / place.removeprefix(_SCHEME).rstrip("/")


def address_of(path: Path | str) -> str | None:
    """Return an address itself, and the one whose copy a local path is or would be; None for other paths."""
    if is_remote(str(path)):
        return str(path)
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


def use_cached(folder: Path) -> None:
    """Keep a folder of the cache from being removed while this process lives."""
    if folder not in _IN_USE:
        _IN_USE[folder] = _lock(_note(folder), kind=fcntl.LOCK_SH)


def make_room(folder: Path) -> None:
    """Note how large a folder that this process uses has become; others that nobody uses go, oldest first.

    The cache is bounded by $PHENOSCALE_CACHE_GB (50). What a live process uses stays, even beyond the bound.
    """
    _note(folder).write_text(json.dumps({"folder": str(folder), "bytes": _size(folder)}))
    _make_room()


def _make_room() -> None:
    notes = sorted((cache_folder() / _NOTES).glob("*.json"), key=lambda note: note.stat().st_mtime)
    sizes = {note: _read_note(note) for note in notes}
    excess = sum(size for _, size in sizes.values()) - _bound_bytes()
    for note, (folder, size) in sizes.items():
        if excess <= 0:
            return
        try:
            file = _lock(note, kind=fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        with file:
            shutil.rmtree(folder, ignore_errors=True)
            note.unlink(missing_ok=True)
        excess -= size


def _note(folder: Path) -> Path:
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:20]
    return cache_folder() / _NOTES / f"{name}.json"


def _read_note(note: Path) -> tuple[Path, int]:
    try:
        fields = json.loads(note.read_text())
        return Path(fields["folder"]), int(fields["bytes"])
    except (OSError, ValueError, KeyError):
        return note, 0  # being written now, by a process that uses it


def _lock(note: Path, *, kind: int) -> IO[str]:
    """Lock a note; the kernel drops the lock when its holder ends, however it ends."""
    note.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = note.open("a")
        try:
            fcntl.flock(file, kind)
            if note.exists() and os.path.samestat(os.fstat(file.fileno()), note.stat()):
                return file
        except BlockingIOError:
            file.close()
            raise
        file.close()  # removed while we waited for it


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _bound_bytes() -> int:
    text = os.environ.get("PHENOSCALE_CACHE_GB", "") or str(_DEFAULT_GB)
    try:
        return int(float(text) * 1e9)
    except ValueError as error:
        raise UserError(
            f"$PHENOSCALE_CACHE_GB is {text!r}; give a number of gigabytes, such as 50"
        ) from error
