"""The lease on a stage's output: one runner at a time, on one machine or many; a dead one's work is free.

    <stage>/<key>.lease/<token>     one object a holder: who it is; rewritten every few seconds while it lives

Tokens only grow, and each is made by exactly one runner (an object is created only if absent). Whoever made
the highest one is the holder; all others are fenced off, however late they wake up. The store's clock says
how old a sign of life is, so clocks of machines may differ.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from phenoscale.errors import PhenoscaleError, RetryError, UserError
from phenoscale.logs import get_logger
from phenoscale.stages.records import read_json
from phenoscale.storage import Storage

LEASE_SUFFIX: Final = ".lease"
_RELEASED: Final = "released"

logger = get_logger(__name__)


@dataclasses.dataclass(frozen=True)
class LeaseTimes:
    """How often a holder shows that it lives, and after how long a silence it counts as dead."""

    heartbeat_seconds: float = 10.0
    expiry_seconds: float = 60.0


class Lease:
    """A lease that this process holds, or held.

    Attributes:
        token: its number; a later holder's is higher.
        is_predecessor_over: whether the runner before is known to have ended, so that the files it was
            writing stand still. One that fell silent may still be writing.
    """

    def __init__(self, storage: Storage, name: str, *, token: int, is_predecessor_over: bool) -> None:
        self._storage, self._folder = storage, name + LEASE_SUFFIX
        self.token, self.is_predecessor_over = token, is_predecessor_over

    def check(self) -> None:
        """Stop unless this process still holds the lease: nothing of a fenced runner may count.

        Raises:
            RetryError: another runner has taken over.
        """
        highest = _highest(self._storage, self._folder)
        if highest != self.token:
            raise RetryError(
                f"{self._storage.uri}/{self._folder}: another runner has taken over, because this one showed "
                "no sign of life for too long; the same command goes on from what is finished by then"
            )

    def beat(self) -> None:
        """Show that the holder lives."""
        self._storage.write_bytes(_key(self._folder, self.token), _record(_myself()))

    def release(self) -> None:
        """Give the lease back; the number stays, so that no later holder has the same."""
        with contextlib.suppress(PhenoscaleError, OSError):
            if _highest(self._storage, self._folder) != self.token:
                return
            self._storage.write_bytes(_key(self._folder, self.token), _record({"state": _RELEASED}))
            for info in list(self._storage.list(self._folder + "/")):
                if _number(info.key) < self.token:
                    self._storage.delete(info.key)


@contextlib.contextmanager
def hold_lease(
    storage: Storage, name: str, *, stage: str, times: LeaseTimes = LeaseTimes()
) -> Iterator[Lease]:
    """Hold the lease on an output while the context is open.

    Args:
        storage: of the workspace.
        name: of the output in it: `<stage>/<key>`.
        stage: the stage's name, for the message.
        times: of heartbeat and expiry.

    Raises:
        RetryError: another live runner holds it.
        UserError: the workspace cannot be written.
    """
    lease = _take(storage, name, stage=stage, times=times)
    is_over = threading.Event()
    beat = partial(_beat_on, lease, is_over=is_over, times=times)
    heart = threading.Thread(target=beat, name="phenoscale-lease", daemon=True)
    heart.start()
    try:
        yield lease
    finally:
        is_over.set()
        heart.join()
        lease.release()


def _take(storage: Storage, name: str, *, stage: str, times: LeaseTimes) -> Lease:
    folder = name + LEASE_SUFFIX
    while True:
        token = _highest(storage, folder)
        is_over = True
        if token:
            holder, is_over, age = _sign_of_life(storage, _key(folder, token))
            if not is_over and (age is None or age <= times.expiry_seconds):
                raise RetryError(
                    f"stage {stage} is being run by process {holder.get('pid', 'unknown')} on "
                    f"{holder.get('host', 'an unknown host')} ({storage.uri}/{folder}); wait until it has "
                    "ended, or end it"
                )
        try:
            has_token = storage.create_bytes(_key(folder, token + 1), _record(_myself()))
        except UserError as error:
            raise UserError(
                f"the workspace cannot be written: {error}; choose another: --runtime.workspace"
            ) from error
        if has_token:
            return Lease(storage, name, token=token + 1, is_predecessor_over=is_over)


def _beat_on(lease: Lease, *, is_over: threading.Event, times: LeaseTimes) -> None:
    has_warned = False
    while not is_over.wait(times.heartbeat_seconds):
        try:
            lease.check()
        except RetryError as error:
            # either it is lost, which the next commit finds, or the store is away, which may pass
            if not has_warned:
                logger.warning("%s", error)
            has_warned = True
            continue
        except Exception as error:
            logger.warning("the lease could not be looked at: %s", error)
            continue
        with contextlib.suppress(Exception):
            lease.beat()


def is_live(storage: Storage, name: str, *, times: LeaseTimes = LeaseTimes()) -> bool:
    """Whether a runner holds the lease on an output and shows signs of life."""
    folder = name + LEASE_SUFFIX
    token = _highest(storage, folder)
    if not token:
        return False
    _, is_over, age = _sign_of_life(storage, _key(folder, token))
    return not is_over and age is not None and age <= times.expiry_seconds


def _sign_of_life(storage: Storage, key: str) -> tuple[dict[str, Any], bool, float | None]:
    """Who holds a token, as far as known; whether that is over; and the age of the last sign of life."""
    holder = read_json(storage, key)
    return holder, holder.get("state") == _RELEASED or _has_ended(holder), storage.age_seconds(key)


def _highest(storage: Storage, folder: str) -> int:
    """The number of the current token, 0 when there was none yet."""
    return max((_number(info.key) for info in storage.list(folder + "/")), default=0)


def _number(key: str) -> int:
    name = key.rpartition("/")[2]
    return int(name) if name.isdigit() else 0


def _key(folder: str, token: int) -> str:
    return f"{folder}/{token:08d}"


def _record(holder: dict[str, Any]) -> bytes:
    return json.dumps(holder).encode()


def _myself() -> dict[str, Any]:
    pid = os.getpid()
    return {"pid": pid, "host": platform.node(), "machine": _machine(), "process": _process(pid)}


def _has_ended(holder: dict[str, Any]) -> bool:
    """Whether the holder was a process of this machine that is no more."""
    pid = holder.get("pid")
    if holder.get("machine") != _machine() or not isinstance(pid, int):
        return False
    return _process(pid) != holder.get("process")


def _machine() -> str:
    """Names this machine since it was started, and where process numbers mean the same: containers differ."""
    boot = _text(Path("/proc/sys/kernel/random/boot_id"))
    try:
        numbers = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        numbers = ""
    return f"{platform.node()}/{boot}/{numbers}"


def _process(pid: int) -> str:
    """When a process was started, which tells it from a later one of its number; "" when it is no more."""
    status = _text(Path(f"/proc/{pid}/stat"))
    if status:
        state, *fields = status.rpartition(")")[2].split()
        return "" if state in "ZX" else fields[18]
    if Path("/proc/self").exists():
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "alive"


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
