"""Clock, limit, memory and machine facts of the benches of models.

On a GPU the clock is the wall clock, read when the device has finished. On a CPU it is the processor time of
the process over all its threads: other programs on the same cores hardly touch it.
"""

from __future__ import annotations

import gc
import platform
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import torch

from phenoscale.errors import UserError
from phenoscale.training.chips import chip_of_device

Result = TypeVar("Result")

CUDA_SHAPES = (
    (4096, 4096, 4096),
    (8192, 8192, 8192),
    (16384, 16384, 16384),
    (65536, 1024, 7168),  # tokens x dimensions x (hidden + q, k, v) of L/8
    (65536, 1664, 13184),  # and of G/8
)
CPU_SHAPES = ((512, 512, 512), (1024, 1024, 1024), (2048, 2048, 2048))


@dataclass(frozen=True)
class Limit:
    """The quickest bf16 matrix product that this machine made in this run.

    Attributes:
        flops_per_second: of the best shape.
        shape: rows, inner and columns of it.
        by_shape: every shape that was tried.
    """

    flops_per_second: float
    shape: str
    by_shape: Mapping[str, float]


def pick_device(name: str) -> torch.device:
    """A GPU where there is one, unless a device is named."""
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


def clock(device: torch.device) -> float:
    """Seconds on the clock that fits the device, after everything before has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


def clock_in_words(device: torch.device) -> str:
    """What the seconds are."""
    return "wall clock" if device.type == "cuda" else "processor time of the process, all threads"


def matrix_limit(device: torch.device, *, seconds: float) -> Limit:
    """Sweep bf16 matrix products and keep the best rate; each shape gets its part of the seconds."""
    shapes = CUDA_SHAPES if device.type == "cuda" else CPU_SHAPES
    rates = {
        "x".join(map(str, s)): _matrix_rate(s, device=device, seconds=seconds / len(shapes)) for s in shapes
    }
    best = max(rates, key=lambda name: rates[name])
    return Limit(rates[best], best, rates)


@torch.no_grad()
def _matrix_rate(shape: tuple[int, int, int], *, device: torch.device, seconds: float) -> float:
    rows, inner, columns = shape
    left = torch.randn(rows, inner, device=device, dtype=torch.bfloat16)
    right = torch.randn(inner, columns, device=device, dtype=torch.bfloat16)
    out = torch.empty(rows, columns, device=device, dtype=torch.bfloat16)
    for _ in range(2):
        torch.mm(left, right, out=out)
    best, started = float("inf"), time.perf_counter()
    while best == float("inf") or time.perf_counter() - started < seconds:
        before = clock(device)
        repeats = 10 if device.type == "cuda" else 2  # enough that reading the clock does not count
        for _ in range(repeats):
            torch.mm(left, right, out=out)
        best = min(best, max(clock(device) - before, 1e-9) / repeats)
    return 2 * rows * inner * columns / best


def steps_a_second(
    step: Callable[[], object], *, device: torch.device, seconds: float, warmup: int
) -> tuple[float, int]:
    """How often a step runs in a second on the device's clock, and how many were timed.

    It goes on for so many seconds of wall clock after the warm-up, in which memory is allocated and blocks
    are compiled.
    """
    for _ in range(warmup):
        step()
    before, started, number = clock(device), time.perf_counter(), 0
    while number < 2 or time.perf_counter() - started < seconds:
        step()
        number += 1
    return number / max(clock(device) - before, 1e-9), number


def with_fitting_micro_batch(measure: Callable[[int], Result], *, start: int) -> Result:
    """Measure with the largest micro-batch that fits: `start`, or half of it, a quarter, ...

    Raises:
        UserError: not even one crop fits.
    """
    size = start
    while size >= 1:
        try:
            return measure(size)
        except torch.OutOfMemoryError:
            pass  # memory is released outside of the clause: the traceback holds the tensors
        release_memory()
        size //= 2
    raise UserError(
        "not even a micro-batch of one crop fits into memory; choose smaller --sizes or --recompute blocks"
    )


def release_memory() -> None:
    """Give back what the last measurement held, compiled code included."""
    torch.compiler.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def peak_memory(device: torch.device) -> Iterator[dict[str, float | None]]:
    """Fill in `gb`, the most memory that tensors took while the context was open; None on a CPU."""
    found: dict[str, float | None] = {"gb": None}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    yield found
    if device.type == "cuda":
        found["gb"] = torch.cuda.max_memory_allocated(device) / 1e9


def usable_bytes(device: torch.device) -> float:
    """Memory of a GPU that a measurement may count on; a CPU has no say in the micro-batch."""
    if device.type != "cuda":
        return float("inf")
    free, _ = torch.cuda.mem_get_info(device)
    return 0.95 * free


def machine(device: torch.device) -> dict[str, Any]:
    """What must be known to compare numbers: processor, versions, date, commit."""
    is_cuda = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if is_cuda else _cpu_name()
    chip = chip_of_device(name)
    return {
        "device": name,
        "device_type": device.type,
        "data_sheet_flops_per_second": chip.bf16_flops if chip else None,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if is_cuda else None,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "cpu")


def _commit() -> str | None:
    """The checkout's commit, with a plus where files differ from it; None outside of a checkout."""
    folder = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
