"""Deliver tracking calls in order from a thread: a server that is away never stops a stage.

Metrics wait a moment and travel in batches, so that neither SQLite nor a server is asked at every step of a
training. What cannot be delivered is kept and tried again; the log says so once, and once more if it is given
up at the end.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from phenoscale.logs import get_logger

if TYPE_CHECKING:
    from mlflow.entities import Metric

_log = get_logger(__name__)

MAX_METRICS_PER_CALL = 1000
MAX_WAITING_ENTRIES = 500_000


@dataclass(frozen=True)
class OutboxTimes:
    """How long metrics are collected, and how long an absent server is waited for."""

    collect_seconds: float = 1.0
    first_retry_seconds: float = 1.0
    longest_retry_seconds: float = 60.0
    patience_at_end_seconds: float = 20.0


@dataclass
class _State:
    waiting: deque[Metric | Callable[[], None]] = field(default_factory=deque)
    in_hand: int = 0
    closing: bool = False
    hurried: bool = False
    flushes: int = 0
    dropped: int = 0
    retry_seconds: float = 0.0
    refusals: set[str] = field(default_factory=set)


class Outbox:
    """An ordered queue of tracking calls and the thread that delivers them."""

    def __init__(
        self,
        *,
        address: str,
        send_metrics: Callable[[Sequence[Metric]], None],
        times: OutboxTimes | None = None,
    ) -> None:
        self._address = address
        self._send_metrics = send_metrics
        self._times = times or OutboxTimes()
        self._state = _State()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._deliver, name="phenoscale-tracking", daemon=True)
        self._thread.start()

    def put(self, call: Callable[[], None]) -> None:
        """Deliver `call` after everything that was put before it."""
        with self._changed:
            self._state.waiting.append(call)
            self._changed.notify_all()

    def put_metrics(self, metrics: Sequence[Metric]) -> None:
        """Deliver metrics, in batches; far too many waiting ones push the oldest out."""
        with self._changed:
            self._state.waiting.extend(metrics)
            while len(self._state.waiting) > MAX_WAITING_ENTRIES:
                self._state.waiting.popleft()
                self._state.dropped += 1
            self._changed.notify_all()

    def flush(self, *, timeout_seconds: float) -> bool:
        """Wait until everything put so far is delivered; False when the time ran out first."""
        with self._changed:
            self._state.hurried = True
            self._state.flushes += 1
            self._changed.notify_all()
            done = self._changed.wait_for(self._is_idle, timeout=timeout_seconds)
            self._state.hurried = False
        return done

    def close(self) -> None:
        """Deliver what waits, for as long as the patience lasts, then stop."""
        delivered = self.flush(timeout_seconds=self._times.patience_at_end_seconds)
        with self._changed:
            self._state.closing = True
            self._changed.notify_all()
        lost = self._state.dropped + (0 if delivered else len(self._state.waiting) + self._state.in_hand)
        if lost:
            _log.warning(
                "%d tracking entries were not delivered to %s; the stage's own files hold them",
                lost,
                self._address,
            )

    def _is_idle(self) -> bool:
        return not self._state.waiting and self._state.in_hand == 0

    def _deliver(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._state.waiting) or self._state.closing)
                if self._state.closing:
                    return
                self._collect()
                taken = self._take()
            delivered = self._try(taken)
            with self._changed:
                self._state.in_hand = 0
                if not delivered:
                    self._state.waiting.extendleft(reversed(taken))
                self._changed.notify_all()
                if not delivered:
                    self._wait_to_retry()

    def _wait_to_retry(self) -> None:
        """Sleep before the next attempt; somebody who flushes is not kept waiting for the long pauses."""
        state, seen = self._state, self._state.flushes
        longest = (
            min(state.retry_seconds, self._times.first_retry_seconds)
            if state.hurried
            else state.retry_seconds
        )
        self._changed.wait_for(lambda: state.closing or state.flushes != seen, timeout=longest)

    def _collect(self) -> None:
        """Let a first metric wait for company, unless someone is waiting for it."""
        if callable(self._state.waiting[0]):
            return
        self._changed.wait_for(
            lambda: (
                self._state.hurried
                or self._state.closing
                or len(self._state.waiting) >= MAX_METRICS_PER_CALL
                or callable(self._state.waiting[-1])
            ),
            timeout=self._times.collect_seconds,
        )

    def _take(self) -> list[Metric | Callable[[], None]]:
        waiting = self._state.waiting
        taken = [waiting.popleft()]
        if not callable(taken[0]):
            while waiting and not callable(waiting[0]) and len(taken) < MAX_METRICS_PER_CALL:
                taken.append(waiting.popleft())
        self._state.in_hand = len(taken)
        return taken

    def _say_refused(self, message: str) -> None:
        if message not in self._state.refusals:
            self._state.refusals.add(message)
            _log.warning("%s refused a tracking entry: %s", self._address, message)

    def _try(self, taken: list[Metric | Callable[[], None]]) -> bool:
        """Send one call or one batch; True when it is done with, be it delivered or refused for good."""
        try:
            first = taken[0]
            if callable(first):
                first()
            else:
                self._send_metrics([entry for entry in taken if not callable(entry)])
        except Exception as error:
            if is_final(error):
                self._say_refused(str(error))
                return True
            if self._state.retry_seconds == 0.0:
                _log.warning(
                    "tracking server %s is away (%s); the stage goes on and entries are kept",
                    self._address,
                    error,
                )
            self._state.retry_seconds = min(
                max(self._state.retry_seconds * 2, self._times.first_retry_seconds),
                self._times.longest_retry_seconds,
            )
            return False
        if self._state.retry_seconds:
            _log.info("tracking server %s is back at %s", self._address, time.strftime("%H:%M:%S"))
            self._state.retry_seconds = 0.0
        return True


def is_final(error: Exception) -> bool:
    """Whether trying again is useless: the server understood and said no, or a file to send is not there."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        status = int(error.get_http_status_code())  # type: ignore[no-untyped-call]
        return 400 <= status < 500 and status not in (408, 409, 429)
    return isinstance(
        error, FileNotFoundError | IsADirectoryError | NotADirectoryError | TypeError | ValueError
    )
