"""The one way a file is written: whole or not at all, under a temporary name until it is.

A reader, even after a crash, sees the old bytes or the new ones, never a part. What a killed writer leaves
behind carries `TEMPORARY_PREFIX` and is no file of anybody's output.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from phenoscale.errors import PhenoscaleError, RetryError, UserError, is_disk_full

TEMPORARY_PREFIX: Final = ".write-"


def is_temporary(name: str) -> bool:
    """Whether a file is what a writer was writing when it was killed."""
    return Path(name).name.startswith(TEMPORARY_PREFIX)


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file, replacing what was there.

    Raises:
        UserError: a folder in its place, or no access to it.
        RetryError: when the disk, quota or file-size limit is full.
    """
    with explained(path), written_whole(path) as temporary:
        temporary.write_bytes(data)


def create_atomic(path: Path, data: bytes) -> bool:
    """Write a file only if there is none; of several writers exactly one gets True.

    Raises:
        UserError, RetryError: as `write_atomic`.
    """
    with explained(path), _temporary_for(path) as temporary:
        temporary.write_bytes(data)
        _sync(temporary)
        try:
            # unlike a rename, a hard link fails when the name is taken
            os.link(temporary, path)
        except FileExistsError:
            return False
        _sync(path.parent)
        return True


def link_atomic(source: Path, target: Path) -> None:
    """Give a file, which is not written to again, a second name; a copy where no link can be made.

    Raises:
        UserError, RetryError: as `write_atomic`.
    """
    with explained(source), _temporary_for(target) as temporary:
        if target.exists() and target.samefile(source):
            return
        try:
            os.link(source, temporary)
        except FileNotFoundError:
            raise
        except OSError:
            # a file system without links, or another one
            shutil.copy2(source, temporary)
        temporary.replace(target)


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a name to write to; the file gets its right name, and its folder, when the context ends well.

    Raises:
        UserError, RetryError: as `write_atomic`; what else the body raises goes through.
    """
    with _temporary_for(path) as temporary:
        try:
            yield temporary
        except Exception as error:
            if is_disk_full(error) and not isinstance(error, PhenoscaleError):
                raise _no_room(path, error) from error
            raise
        with explained(path):
            _sync(temporary)
            temporary.replace(path)
            _sync(path.parent)


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the system says of a path into a message for a person."""
    try:
        yield
    except (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise UserError(f"{path} is no file ({error.strerror}); check the path") from error
    except PermissionError as error:
        raise UserError(f"{path}: access denied ({error.strerror}); give this user access to it") from error
    except OSError as error:
        if is_disk_full(error):
            raise _no_room(path, error) from error
        raise


@contextlib.contextmanager
def _temporary_for(path: Path) -> Iterator[Path]:
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(8)}"
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _no_room(path: Path, error: BaseException) -> RetryError:
    reason = getattr(error, "strerror", None) or error
    return RetryError(f"no room to write {path} ({reason}); free space, then repeat")
