"""One run of a bench of models: its options, the rounds over sizes and paths, its table and its record."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from parts.measure import (
    Limit,
    clock_in_words,
    machine,
    matrix_limit,
    peak_memory,
    pick_device,
    release_memory,
    steps_a_second,
    with_fitting_micro_batch,
)
from parts.profile import profile_steps

CPU_SIZES = ("tiny", "small")
CUDA_SIZES = ("B/16", "L/8", "G/8")
PATHS = ("ours", "eager")
WARMUP_STEPS = 3


@dataclass(frozen=True)
class Measured:
    """One path of one size.

    Attributes:
        size: name of the model's size.
        path: ours or eager.
        micro_batch: crops at once.
        crops_per_second: on the bench's clock; the median over the rounds.
        flops_per_second: of the model, recomputation out.
        mfu: over the quickest matrix product of this run.
        mfu_of_data_sheet: over the chip's published dense rate; None where it is not known.
        peak_memory_gb: most that tensors took; None on a CPU.
        planned_memory_gb: what the closed form says of it; None for inference.
        num_steps: steps timed in a round.
        rounds: crops a second of each round.
        time_by_kind: shares of the steps' time, if they were profiled.
        times_eager: crops a second over those of the eager path.
    """

    size: str
    path: str
    micro_batch: int
    crops_per_second: float
    flops_per_second: float
    mfu: float
    mfu_of_data_sheet: float | None
    peak_memory_gb: float | None
    planned_memory_gb: float | None
    num_steps: int
    rounds: list[float] = field(default_factory=list)
    time_by_kind: dict[str, float] = field(default_factory=dict)
    times_eager: float | None = None


@dataclass(frozen=True)
class Bench:
    """A bench with its options, its device and the limit that it measured first."""

    name: str
    options: argparse.Namespace
    device: torch.device
    limit: Limit
    machine: dict[str, Any]

    def measure(
        self,
        size: str,
        *,
        path: str,
        start: int,
        open_step: Callable[[int], AbstractContextManager[Callable[[], object]]],
        facts: Callable[[int], dict[str, Any]],
    ) -> Measured:
        """Measure one path of one size once, with the largest micro-batch that fits, from `start` down."""

        def once(micro_batch: int) -> Measured:
            kinds: dict[str, float] = {}
            with peak_memory(self.device) as peak, open_step(micro_batch) as step:
                rate, num_steps = steps_a_second(
                    step, device=self.device, seconds=self.options.seconds, warmup=WARMUP_STEPS
                )
                if self.options.profile and path == "ours":
                    file = Path(self.options.profile) / f"{self.name}-{size.replace('/', '-')}.txt"
                    kinds = profile_steps(step, device=self.device, file=file, seconds_per_step=1 / rate)
            return self._measured(
                size,
                path=path,
                micro_batch=micro_batch,
                steps_per_second=rate,
                num_steps=num_steps,
                peak_memory_gb=peak["gb"],
                time_by_kind=kinds,
                **facts(micro_batch),
            )

        found = with_fitting_micro_batch(once, start=start)
        release_memory()
        return found

    def _measured(
        self, size: str, *, steps_per_second: float, flops_per_crop: int, micro_batch: int, **facts: Any
    ) -> Measured:
        """What was measured, with its MFU."""
        crops = steps_per_second * micro_batch
        flops = crops * flops_per_crop
        sheet = self.machine["data_sheet_flops_per_second"]
        return Measured(
            size=size,
            micro_batch=micro_batch,
            crops_per_second=crops,
            flops_per_second=flops,
            mfu=flops / self.limit.flops_per_second,
            mfu_of_data_sheet=flops / sheet if sheet else None,
            **facts,
        )

    def run(self, measure_path: Callable[..., Measured]) -> dict[str, Any]:
        """Measure every size and path, in rounds that alternate between the paths; print and write."""
        results: list[Measured] = []
        for size in self.options.sizes:
            rounds: dict[str, list[Measured]] = {path: [] for path in PATHS}
            for number in range(self.options.rounds):
                for path in PATHS:
                    note(f"{size}, {path}, round {number + 1} of {self.options.rounds}")
                    rounds[path].append(measure_path(path, size=size, bench=self))
            results += _against_eager({path: _median(found) for path, found in rounds.items()})
        record = {
            "bench": self.name,
            "machine": self.machine,
            "clock": clock_in_words(self.device),
            "options": {key: value for key, value in vars(self.options).items() if key != "output"},
            "limit": dataclasses.asdict(self.limit),
            "results": [dataclasses.asdict(measured) for measured in results],
        }
        print(self._text(results))
        if self.options.output:
            Path(self.options.output).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        return record

    def _text(self, results: Sequence[Measured]) -> str:
        facts = self.machine
        head = [
            f"{self.name}: {facts['device']}, {facts['threads']} threads, torch {facts['torch']}, "
            f"{facts['date']}, commit {facts['commit']}",
            f"clock: {clock_in_words(self.device)}",
            f"limit: {self.limit.flops_per_second / 1e12:.3g} TFLOP/s, bf16 product {self.limit.shape}",
        ]
        columns = (
            "size path",
            "micro batch",
            "crops/s",
            "TFLOP/s",
            "MFU",
            "of data sheet",
            "memory GB",
            "x eager",
        )
        rows = [columns, *(_row(measured) for measured in results)]
        shares = [
            f"{measured.size}: "
            + ", ".join(f"{kind} {share:.0%}" for kind, share in measured.time_by_kind.items())
            for measured in results
            if measured.time_by_kind
        ]
        return "\n".join([*head, table(rows), *shares])


def open_bench(name: str, *, options: argparse.Namespace) -> Bench:
    """Fill in what depends on the device, and measure the limit."""
    device = pick_device(options.device)
    is_cuda = device.type == "cuda"
    defaults = {
        "sizes": list(CUDA_SIZES if is_cuda else CPU_SIZES),
        "seconds": 10.0 if is_cuda else 2.0,
        "rounds": 1 if is_cuda else 3,
        "compile": is_cuda,
    }
    given = {key: value for key, value in vars(options).items() if value is not None}
    options = argparse.Namespace(**{**vars(options), **defaults, **given})
    note("bf16 matrix products")
    limit = matrix_limit(device, seconds=options.seconds)
    return Bench(name, options, device, limit, machine(device))


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that the benches of models share; None means: whatever fits the device."""
    parser.add_argument("--sizes", nargs="+", default=None, help="named sizes of the masked autoencoder")
    parser.add_argument("--seconds", type=float, default=None, help="seconds per path and round")
    parser.add_argument("--rounds", type=int, default=None, help="rounds, alternating between the paths")
    parser.add_argument("--micro-batch", type=int, default=0, help="crops at once; 0: as many as fit")
    parser.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, default=None, help="compile our blocks"
    )
    parser.add_argument("--device", default="", help="cpu, cuda or cuda:N")
    parser.add_argument("--profile", default="", help="folder for tables of where the time goes")
    parser.add_argument("--output", default="", help="JSON file to write")


def note(text: str) -> None:
    """Say on standard error what is being done."""
    print(text, file=sys.stderr, flush=True)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows under each other, the first column to the left, the others to the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([f"{row[0]:<{widths[0]}}", *cells]))
    return "\n".join(lines)


def _row(measured: Measured) -> tuple[str, ...]:
    sheet, peak, ratio = measured.mfu_of_data_sheet, measured.peak_memory_gb, measured.times_eager
    return (
        f"{measured.size} {measured.path}",
        str(measured.micro_batch),
        f"{measured.crops_per_second:.4g}",
        f"{measured.flops_per_second / 1e12:.3g}",
        f"{measured.mfu:.1%}",
        "" if sheet is None else f"{sheet:.1%}",
        "" if peak is None else f"{peak:.1f}",
        "" if ratio is None else f"{ratio:.2f}",
    )


def _median(rounds: Sequence[Measured]) -> Measured:
    """The round in the middle, with the speeds of all."""
    in_order = sorted(rounds, key=lambda measured: measured.crops_per_second)
    kinds = next((measured.time_by_kind for measured in rounds if measured.time_by_kind), {})
    speeds = [measured.crops_per_second for measured in rounds]
    middle = in_order[(len(in_order) - 1) // 2]
    return dataclasses.replace(middle, rounds=speeds, time_by_kind=kinds)


def _against_eager(by_path: dict[str, Measured]) -> list[Measured]:
    eager = by_path["eager"].crops_per_second
    return [
        dataclasses.replace(measured, times_eager=measured.crops_per_second / eager)
        for measured in by_path.values()
    ]
