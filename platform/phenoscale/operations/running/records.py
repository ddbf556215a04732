"""What the steps of one pipeline run leave in its folder: who is running, what came out, why one failed.

<workspace>/runs/<run>/host.lock              held by the process that started the run, while it lives
<workspace>/runs/<run>/<step>/process.json    the step's process, while it runs; step.lock is held by it
<workspace>/runs/<run>/<step>/known.json      an output found complete when the run was planned
<workspace>/runs/<run>/<step>/result.json     the output's place, key, digest, seconds, reused or not
<workspace>/runs/<run>/<step>/failure.json    exit code, message and last log lines
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from phenoscale.errors import EXIT_RETRY
from phenoscale.files import write_atomic
from phenoscale.operations.running.steps import Known
from phenoscale.stages import StageResult
from phenoscale.stages.failure import Failure, failure_of, read_failure, write_failure
from phenoscale.storage import LocalStorage

HOST_LOCK: Final = "host.lock"
_STEP_LOCK: Final = "step.lock"
_PROCESS: Final = "process.json"
_KNOWN: Final = "known.json"
_RESULT: Final = "result.json"
_FAILURE: Final = "failure.json"
_SECONDS_BETWEEN_LOOKS: Final = 0.2
_SECONDS_TO_SAVE: Final = 60.0


def write_result(run_folder: Path, step: str, *, result: StageResult) -> None:
    """Leave a step's result for the process that runs the pipeline."""
    record = {**asdict(result), "path": str(result.path)}
    write_atomic(run_folder / step / _RESULT, json.dumps(record).encode())


def read_result(run_folder: Path, step: str) -> StageResult | None:
    """A step's result, None while there is none."""
    record = _read(run_folder / step / _RESULT)
    return StageResult(**{**record, "path": Path(record["path"])}) if record else None


def write_known(run_folder: Path, step: str, *, known: Known) -> None:
    """Tell a step where its output is, so that it need not find its key again."""
    write_atomic(run_folder / step / _KNOWN, json.dumps(asdict(known)).encode())


def read_known(run_folder: Path, step: str) -> Known | None:
    """The output that the run's host has found for a step, None when there is work to do."""
    record = _read(run_folder / step / _KNOWN)
    return Known(**record) if record else None


def record_failure(run_folder: Path, step: str, *, error: BaseException, lines: Sequence[str]) -> None:
    """Leave the reason why a step failed."""
    failure = failure_of(error, name=step, lines=lines)
    write_failure(failure, storage=LocalStorage(run_folder), key=f"{step}/{_FAILURE}")


def find_failure(run_folder: Path) -> Failure | None:
    """The failure of a run; a step that was killed left none, and may be repeated."""
    for path in sorted(run_folder.glob(f"*/{_FAILURE}")):
        failure = read_failure(LocalStorage(path.parent), key=_FAILURE)
        if failure is not None:
            return failure
    for path in sorted(run_folder.glob(f"*/{_PROCESS}")):
        step = path.parent.name
        return Failure(step, EXIT_RETRY, f"step {step} was killed; run the same command again to go on")
    return None


def running_processes(run_folder: Path) -> list[int]:
    """Process ids of the steps that are running now."""
    found = [
        path.parent for path in run_folder.glob(f"*/{_PROCESS}") if not _is_free(path.parent / _STEP_LOCK)
    ]
    return [int(_read(folder / _PROCESS)["pid"]) for folder in found]


@contextmanager
def host_of_run(run_folder: Path) -> Iterator[None]:
    """Be the process whose end stops the run's steps."""
    run_folder.mkdir(parents=True, exist_ok=True)
    with (run_folder / HOST_LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def process_of_step(run_folder: Path, step: str) -> Iterator[None]:
    """Be the process of a step: on record while it runs, and stopped when the run's host dies."""
    folder = run_folder / step
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _STEP_LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / _FAILURE).unlink(missing_ok=True)
        write_atomic(folder / _PROCESS, json.dumps({"pid": os.getpid()}).encode())
        is_over = threading.Event()
        watch = threading.Thread(target=_stop_with_host, args=(run_folder / HOST_LOCK, is_over), daemon=True)
        watch.start()
        try:
            yield
        finally:
            # A killed step does not come here, and leaves its record: that is how the host learns of it.
            is_over.set()
            (folder / _PROCESS).unlink()


def wait_for_orphans(runs_folder: Path) -> list[str]:
    """Wait until the steps of killed runs have stopped; a training saves its checkpoint first.

    Returns:
        The steps waited for.
    """
    waited: set[str] = set()
    deadline = time.monotonic() + _SECONDS_TO_SAVE
    while time.monotonic() < deadline:
        orphans = [
            lock.parent
            for lock in runs_folder.glob(f"*/*/{_STEP_LOCK}")
            if _is_free(lock.parent.parent / HOST_LOCK) and not _is_free(lock)
        ]
        if not orphans:
            break
        waited.update(folder.name for folder in orphans)
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    return sorted(waited)


def _stop_with_host(host_lock: Path, is_over: threading.Event) -> None:
    """Wait for the host's lock to come free, which the kernel sees to however the host ends; then stop."""
    try:
        with host_lock.open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
    except FileNotFoundError:
        return  # no host on this machine: a pod on a cluster
    if is_over.is_set():
        return
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_SECONDS_TO_SAVE)
    os._exit(EXIT_RETRY)


def _is_free(lock: Path) -> bool:
    try:
        with lock.open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return found
