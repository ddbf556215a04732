"""Decoded fields that were read before, as many as fit into a number of bytes."""

import threading
from collections import OrderedDict
from typing import Any

from numpy.typing import NDArray


class FieldCache:
    """Keeps the most recently used fields; safe to use from several threads."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.num_bytes = 0
        self._fields: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, row: int) -> NDArray[Any] | None:
        """The pixels of a field, if they are still here."""
        with self._lock:
            pixels = self._fields.get(row)
            if pixels is not None:
                self._fields.move_to_end(row)
            return pixels

    def put(self, row: int, pixels: NDArray[Any]) -> None:
        """Keep a field and drop the least recently used ones beyond the capacity."""
        with self._lock:
            if row in self._fields or pixels.nbytes > self.capacity_bytes:
                return
            self._fields[row] = pixels
            self.num_bytes += pixels.nbytes
            while self.num_bytes > self.capacity_bytes:
                self.num_bytes -= self._fields.popitem(last=False)[1].nbytes
