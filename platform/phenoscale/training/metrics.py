"""The record of a training: one JSON object a line, written by rank 0, followed by the process that waits.

A record holds step, epoch, crops, flops (spent so far), loss, mse and fourier, or accuracy for models that
learn from labels, learning_rate, gradient_norm; validation_loss (and validation_accuracy) where it was
measured. The live file (`logs/metrics.jsonl`) has seconds, crops_per_second, cpu_seconds (of all
processes), loader_wait (the fraction of the time in which a process waited for crops), memory_gb (the peak)
and, where it is known, mfu as well. The finished `metrics.jsonl` leaves those out, so that equal trainings
give equal files.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phenoscale.files import write_atomic

if TYPE_CHECKING:
    from phenoscale.stages import Observer

LIVE_FILE = "logs/metrics.jsonl"  # below the output
TIMINGS = ("seconds", "crops_per_second", "cpu_seconds", "loader_wait", "memory_gb", "mfu")
SECONDS_BETWEEN_LOOKS = 0.5

Record = Mapping[str, float]


def append_record(file: Path, record: Record) -> None:
    """Add one record; a reader sees whole lines only."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as stream:
        stream.write(_line(record))


def read_records(file: Path) -> list[dict[str, float]]:
    """Read all whole records; a last line that a kill cut short is left out. No file means no records."""
    if not file.exists():
        return []
    return [record for record in map(_parse, file.read_text(encoding="utf-8").splitlines()) if record]


def cut_back(file: Path, *, step: int) -> list[dict[str, float]]:
    """Drop the records after a step, because the training goes on from there; return those that remain."""
    kept = [record for record in read_records(file) if record["step"] <= step]
    write_atomic(file, "".join(map(_line, kept)).encode())
    return kept


def keep_records(file: Path, *, copy: Path) -> None:
    """Copy the record so far, for whoever goes on from here without this file."""
    copy.write_bytes(b"".join(_line(record).encode() for record in read_records(file)))


def restore_records(file: Path, *, copy: Path) -> None:
    """Take the copy where it knows more: this machine has not seen the training, or not all of it."""
    kept = read_records(copy)
    if _last_step(kept) > _last_step(read_records(file)):
        write_atomic(file, copy.read_bytes())


def _last_step(records: list[dict[str, float]]) -> float:
    return records[-1]["step"] if records else 0


def write_final_records(file: Path, records: list[dict[str, float]]) -> None:
    """Write the finished record of a training, without timings."""
    lines = [
        _line({name: value for name, value in record.items() if name not in TIMINGS}) for record in records
    ]
    write_atomic(file, "".join(lines).encode())


class MetricsFollower:
    """Hands each record of a growing file to an observer, each step once, even if the file is cut back."""

    def __init__(self, file: Path, observe: Observer) -> None:
        self._file = file
        self._observe = observe
        self._place = (0, 0)  # inode, bytes read
        self._last_step = 0

    def poll(self) -> None:
        """Read what is new."""
        for record in self._new_records():
            step = int(record["step"])
            if step > self._last_step:
                self._last_step = step
                self._observe(step, {name: float(value) for name, value in record.items() if name != "step"})

    def _new_records(self) -> Iterator[dict[str, float]]:
        try:
            stream = self._file.open("rb")
        except FileNotFoundError:
            return
        with stream:
            inode = self._file.stat().st_ino
            start = self._place[1] if inode == self._place[0] else 0
            stream.seek(start)
            whole, newline, _ = stream.read().rpartition(b"\n")
            self._place = (inode, start + len(whole) + len(newline))
        for line in whole.decode("utf-8").splitlines():
            record = _parse(line)
            if record:
                yield record

    @contextmanager
    def following(self) -> Iterator[None]:
        """Poll from a thread while the context is open, and once more at its end."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(SECONDS_BETWEEN_LOOKS):
                self.poll()

        thread = threading.Thread(target=watch, name="metrics", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self.poll()


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, allow_nan=False) + "\n"


def _parse(line: str) -> dict[str, float] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "step" in record else None
