"""One thread that works ahead: a bounded queue whose errors reach the caller and which closes cleanly."""

import queue
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Generic, Self, TypeVar

Item = TypeVar("Item")

_POLL_SECONDS = 0.1


class Prefetcher(Generic[Item]):
    """Iterate over `items` while a thread computes up to `depth` of them ahead.

    An exception in the thread is raised where its item would have come. Leaving the `with` block stops the
    thread.

    Attributes:
        waited_seconds: how long the caller has waited for items so far.
    """

    def __init__(self, items: Iterable[Item], *, depth: int, label: str) -> None:
        self._queue: queue.Queue[Item | _End] = queue.Queue(maxsize=max(depth, 1))
        self.waited_seconds = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(iter(items),), name=label, daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        if self._stopped.is_set():
            raise StopIteration
        asked = time.perf_counter()
        item = self._queue.get()
        self.waited_seconds += time.perf_counter() - asked
        if not isinstance(item, _End):
            return item
        self.close()
        if item.error is not None:
            raise item.error
        raise StopIteration

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the thread and wait for it; closing twice is harmless."""
        self._stopped.set()
        self._thread.join()

    def _work(self, items: Iterator[Item]) -> None:
        end = _End(None)
        try:
            for item in items:
                if not self._put(item):
                    return
        except BaseException as error:
            end = _End(error)
        self._put(end)

    def _put(self, item: "Item | _End") -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=_POLL_SECONDS)
                return True
            except queue.Full:
                continue
        return False


class _End:
    """The last thing in the queue: nothing more comes, or this error came."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error
