"""Which processes of a run are alive on this machine: a run's host, its steps, and what a killed host left.

<folder>/../.start.lock          held while a run looks for others of its workspace
<folder>/host.lock               held by the process that started the run, while it lives
<folder>/<step>/step.lock        held by the step's process, while it lives
<folder>/<step>/process.json     its process id; a killed step does not remove it
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from phenoscale.errors import EXIT_RETRY, RetryError
from phenoscale.files import write_atomic
from phenoscale.storage.mirror import address_of

_START_LOCK: Final = ".start.lock"
_HOST_LOCK: Final = "host.lock"
_STEP_LOCK: Final = "step.lock"
_PROCESS: Final = "process.json"
_SECONDS_BETWEEN_LOOKS: Final = 0.2
_SECONDS_TO_SAVE: Final = 60.0


@contextmanager
def host_of_run(folder: Path) -> Iterator[None]:
    """Be the process whose end stops the run's steps, the only one of its workspace on this machine.

    Raises:
        RetryError: another run of the workspace is alive.
    """
    with FileLock(folder.parent / _START_LOCK):
        require_no_host(folder.parent)
        lock = FileLock(folder / _HOST_LOCK)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def require_no_host(runs: Path) -> None:
    """Refuse to run beside another run of the workspace.

    Raises:
        RetryError: one is alive.
    """
    alive = [lock.parent.name for lock in runs.glob(f"*/{_HOST_LOCK}") if not _is_free(lock)]
    if alive:
        raise RetryError(
            f"run {alive[0]} is at work in {address_of(runs.parent) or runs.parent}; wait until it ends, "
            "stop it, or give another --workspace"
        )


@contextmanager
def process_of_step(folder: Path, step: str) -> Iterator[None]:
    """Be the process of a step: on record while it runs, and stopped when the run's host dies."""
    own = folder / step
    own.mkdir(parents=True, exist_ok=True)
    with FileLock(own / _STEP_LOCK):
        write_atomic(own / _PROCESS, json.dumps({"pid": os.getpid()}).encode())
        is_over = threading.Event()
        host = folder / _HOST_LOCK
        if host.exists():  # no host on this machine: a pod on a cluster
            threading.Thread(target=_stop_with_host, args=(host, is_over), daemon=True).start()
        try:
            yield
        finally:
            # A killed step does not come here, and leaves its record: that is how the host learns of it.
            is_over.set()
            (own / _PROCESS).unlink()


def running_processes(folder: Path) -> list[int]:
    """Process ids of the steps of a run that are running now."""
    records = [
        path for path in folder.glob(f"*/{_PROCESS}") if not _is_free(path.with_name(_STEP_LOCK), seconds=0.0)
    ]
    return [int(json.loads(path.read_text())["pid"]) for path in records]


def killed_step(folder: Path) -> str:
    """A step of a run that was killed, "" where there is none."""
    found = (path for path in sorted(folder.glob(f"*/{_PROCESS}")) if _is_free(path.with_name(_STEP_LOCK)))
    return next((path.parent.name for path in found), "")


def wait_for_orphans(runs: Path) -> list[str]:
    """Wait until the steps of killed runs have stopped; a training saves its checkpoint first.

    Returns:
        The steps waited for.
    """
    orphans = [
        lock
        for lock in sorted(runs.glob(f"*/*/{_STEP_LOCK}"))
        if not _is_free(lock, seconds=0.0) and _is_free(lock.parent.parent / _HOST_LOCK)
    ]
    deadline = time.monotonic() + _SECONDS_TO_SAVE
    for lock in orphans:
        _is_free(lock, seconds=max(0.0, deadline - time.monotonic()))
    return [lock.parent.name for lock in orphans]


def _stop_with_host(host: Path, is_over: threading.Event) -> None:
    """Wait for the host's lock to come free, which the kernel sees to however the host ends; then stop."""
    while not is_over.wait(_SECONDS_BETWEEN_LOOKS):
        if _is_free(host, seconds=0.0):
            os.kill(os.getpid(), signal.SIGTERM)
            is_over.wait(_SECONDS_TO_SAVE)
            if not is_over.is_set():
                os._exit(EXIT_RETRY)
            return


def _is_free(lock: Path, *, seconds: float = 1.0) -> bool:
    """Whether nobody holds a lock; one that is held while somebody else looks comes free in time."""
    if not lock.exists():
        return True
    try:
        with FileLock(lock, timeout=seconds):
            return True
    except Timeout:
        return False
