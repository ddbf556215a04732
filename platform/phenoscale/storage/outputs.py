"""Whether a file or folder can be written where a verb is asked to, said before anything is computed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from phenoscale.errors import UserError, is_disk_full


def check_output_file(path: str, *, inputs: Iterable[str] = (), flag: str = "--output") -> None:
    """Refuse a path at which no file can be written; "" is no output.

    Args:
        path: where the file is to be.
        inputs: what the verb reads, which it must not overwrite; "" is no input.
        flag: what the path was given with.

    Raises:
        UserError: a folder or special file, an input, a path below a file, or a folder without access.
    """
    if not path:
        return
    with _explained(path, flag=flag):
        place = Path(path)
        if place.is_dir():
            raise UserError(f"{flag} {path} is a folder, but a file is written there; name one in it")
        if place.exists() and not place.is_file():
            raise UserError(f"{flag} {path} is no regular file, so it is not written to; choose another path")
        if place.exists() and any(given and _is_same(place, given) for given in inputs):
            raise UserError(f"{flag} {path} is an input, which would be overwritten; choose another path")
        _try_to_write(place.parent)


def check_output_folder(path: str, *, flag: str = "--output") -> None:
    """Refuse a path at which no folder can be made and written into; "" is no output.

    Raises:
        UserError: a file, a path below a file, or a folder without access.
    """
    if not path:
        return
    with _explained(path, flag=flag):
        place = Path(path)
        if not place.is_dir() and os.path.lexists(place):
            raise UserError(
                f"{flag} {path} is no folder, but files are written into a folder there; choose another path"
            )
        _try_to_write(place)


@contextmanager
def _explained(path: str, *, flag: str) -> Iterator[None]:
    if "://" in path:
        raise UserError(f"{flag} {path} is no local path; write to a local one, and copy it from there")
    try:
        yield
    except (OSError, ValueError) as error:
        if is_disk_full(error):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{flag} {path} cannot be written ({reason}); choose another path") from error


def _try_to_write(folder: Path) -> None:
    """Open a file without a name in the folder, or in the nearest one above it that is there."""
    while not os.path.lexists(folder):
        folder = folder.parent
    with tempfile.TemporaryFile(dir=folder):
        pass


def _is_same(place: Path, given: str) -> bool:
    return Path(given).exists() and place.samefile(given)
