"""The lease on a stage's output: one live runner at a time; a dead one's lease is free at once."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from phenoscale.errors import RetryError, UserError, is_disk_full


@contextlib.contextmanager
def hold_lease(lock: Path, *, stage: str) -> Iterator[None]:
    """Hold the lock file while the context is open.

    The kernel drops the lock when its holder ends, however it ends, so no dead runner ever blocks a live one.

    Args:
        lock: the lock file; it stays when the lease ends, so that no two runners ever lock different files.
        stage: the stage's name, for the message.

    Raises:
        UserError: when another live process holds it.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("a+")
    except OSError as error:
        raise _explain(error, lock) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = read_holder(lock)
            raise UserError(
                f"stage {stage} is being run by process {holder.get('pid', 'unknown')} on "
                f"{holder.get('host', 'an unknown host')} ({lock}); wait until it has ended, or end it"
            ) from error
        try:
            _write_holder(file)
        except OSError as error:
            raise _explain(error, lock) from error
        yield


def lock_path(folder: Path) -> Path:
    """Return the lease file beside a stage's output folder."""
    return folder.with_name(folder.name + ".lock") if folder.name else folder / ".lock"


def read_holder(lock: Path) -> dict[str, Any]:
    """Return who holds, or last held, a lease: pid, host, started."""
    try:
        data = json.loads(lock.read_text())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _write_holder(file: Any) -> None:
    file.seek(0)
    file.truncate()
    json.dump({"pid": os.getpid(), "host": platform.node(), "started": time.time()}, file)
    file.flush()


def _explain(error: OSError, lock: Path) -> Exception:
    if is_disk_full(error):
        return RetryError(f"no room to write {lock} ({error.strerror}); free space, then repeat")
    return UserError(
        f"workspace: {lock} cannot be written ({error.strerror}); choose another: --runtime.workspace"
    )
