"""SIGTERM means: save, and come back later (exit code 75). Clusters send it before they kill."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from phenoscale.errors import StoppedError


class Preemption:
    """Notes SIGTERM while training steps are taken, so that the step can be saved first.

    Use it in a `with` block. Only a main thread can receive signals; elsewhere it does nothing.

    Args:
        raises_outside: outside of training steps raise a StoppedError. One of several ranks does without:
            the signal then ends it at once, even while it waits for another rank inside of torch, where
            Python's handlers do not run.
    """

    def __init__(self, *, raises_outside: bool = True) -> None:
        self.is_requested = False
        self._raises_outside = raises_outside
        self._is_deferred = False
        self._is_active = False

    def __enter__(self) -> Preemption:
        self._is_active = threading.current_thread() is threading.main_thread()
        if self._is_active:
            self._previous = signal.getsignal(signal.SIGTERM)
            if self._raises_outside:
                signal.signal(signal.SIGTERM, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_active:
            signal.signal(signal.SIGTERM, self._previous)
            self._is_active = False

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Only note the signal while the context is open: its owner looks at `is_requested`."""
        self._is_deferred = True
        outside = signal.signal(signal.SIGTERM, self._handle) if self._is_active else None
        try:
            yield
        finally:
            self._is_deferred = False
            if self._is_active:
                signal.signal(signal.SIGTERM, outside)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.is_requested = True
        if not self._is_deferred:
            raise preempted_error("outside of the training steps")


def preempted_error(place: str) -> StoppedError:
    """The error of a run that was asked to end."""
    return StoppedError(f"asked to end (SIGTERM) {place}; run the same command again to go on from there")
