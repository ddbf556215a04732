"""SIGTERM means: save, and come back later (exit code 75). Clusters send it before they kill."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from phenoscale.errors import RetryError


class Preemption:
    """Turns SIGTERM into a RetryError: at once, or, while training, after the step has been saved.

    Use it in a `with` block. Only a main thread can receive signals; elsewhere it does nothing.
    """

    def __init__(self) -> None:
        self.is_requested = False
        self._is_deferred = False

    def __enter__(self) -> Preemption:
        self._is_installed = threading.current_thread() is threading.main_thread()
        if self._is_installed:
            self._previous = signal.signal(signal.SIGTERM, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_installed:
            signal.signal(signal.SIGTERM, self._previous)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Only note the signal while the context is open: its owner looks at `is_requested`."""
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.is_requested = True
        if not self._is_deferred:
            raise preempted_error("outside of the training steps")


def preempted_error(place: str) -> RetryError:
    """The error of a run that was asked to end."""
    return RetryError(f"asked to end (SIGTERM) {place}; run the same command again to go on from there")
