"""Weak scaling: bytes that a training step of 1, 2 and 4 gloo ranks sends, and their overlap.

    python bench/scaling.py --output scaling.json
    python bench/scaling.py --paper

Every rank trains on as many crops as one alone, by the training loop's own step. A hook on DDP's buckets
counts their bytes; torch's profiler says which part of the collectives' time lies inside the backward pass.
Seconds mean nothing where ranks share cores, so none are shown. `--paper` prints the tables of
docs/scaling.md, which come from closed forms.

Needs torch, timm, numpy, pyarrow, tensorstore and safetensors; without an installed phenoscale, set
PYTHONPATH=platform.
"""

import argparse
import dataclasses
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from parts.crops import SameCrops
from parts.measure import machine
from parts.paper import paper_tables
from parts.runs import note, table
from torch.nn.parallel import DistributedDataParallel
from torch.profiler import ProfilerActivity, profile

from phenoscale.models.families import build_model, model_config
from phenoscale.stages import Output
from phenoscale.training.loop import build_loss, prepare, take_step
from phenoscale.training.micro_batches import MicroBatchLoader
from phenoscale.training.ranks import Ranks, join_ranks
from phenoscale.training.settings import ScheduleSettings, TrainingSettings, plan_batch
from phenoscale.training.task import TrainingTask

NUM_CHANNELS = 6
NUM_STEPS = 2
WARMUP_STEPS = 2  # DDP orders its buckets anew after the first step

Span = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class RankTraffic:
    """What rank 0 sent in a step.

    Attributes:
        num_ranks: processes.
        num_parameters: of the model.
        num_buckets: pieces in which the gradient is averaged.
        bucket_bytes: bytes of all buckets of a step.
        sent_bytes: what an all-reduce of them sends out of one process.
        early_bytes: share of the bytes whose averaging begins before the last gradient is there.
        overlap: share of the collectives' time that lies inside the backward pass.
    """

    num_ranks: int
    num_parameters: int
    num_buckets: int
    bucket_bytes: int
    sent_bytes: float
    early_bytes: float
    overlap: float | None


def settings_for(size: str, *, crops_per_rank: int, num_ranks: int) -> TrainingSettings:
    """Weak scaling: the global batch grows with the ranks."""
    return TrainingSettings(
        model=model_config("mae", size=size, num_channels=NUM_CHANNELS),
        schedule=ScheduleSettings(num_steps=NUM_STEPS + WARMUP_STEPS),
        global_batch=crops_per_rank * num_ranks,
        intensity_scale=255.0,
    )


def train_as_rank(ranks: Ranks, *, size: str, crops_per_rank: int) -> RankTraffic:
    """Train some steps and count."""
    settings = settings_for(size, crops_per_rank=crops_per_rank, num_ranks=ranks.world_size)
    model = build_model(settings.model, seed=0)
    num_parameters = sum(value.numel() for value in model.parameters())
    trained = prepare(model, settings=settings, ranks=ranks)
    buckets: list[int] = []
    if isinstance(trained.model, DistributedDataParallel):
        trained.model.register_comm_hook(buckets, _count_and_average)
    batch = plan_batch(settings.global_batch, micro_batch=0, num_ranks=ranks.world_size)
    source = SameCrops(crops_per_rank, crop_size=settings.model.crop_size)
    compute_loss = build_loss(settings, device=ranks.device)
    with tempfile.TemporaryDirectory() as folder:
        task = TrainingTask(
            settings=settings, source=source, field_ids=["bench"], output=Output(Path(folder)), ranks=ranks
        )
        with MicroBatchLoader(
            task, batch=batch, num_mask_tokens=model.num_mask_tokens, first_step=0
        ) as loader:
            for step in range(WARMUP_STEPS):
                take_step(trained, loader, step=step, compute_loss=compute_loss)
            buckets.clear()
            with profile(activities=[ProfilerActivity.CPU]) as profiled:
                for step in range(WARMUP_STEPS, WARMUP_STEPS + NUM_STEPS):
                    take_step(trained, loader, step=step, compute_loss=compute_loss)
    per_step = buckets[: len(buckets) // NUM_STEPS]
    total = sum(per_step)
    return RankTraffic(
        num_ranks=ranks.world_size,
        num_parameters=num_parameters,
        num_buckets=len(per_step),
        bucket_bytes=total,
        sent_bytes=2 * (ranks.world_size - 1) / ranks.world_size * total,
        early_bytes=1 - per_step[-1] / total if total else 0.0,
        overlap=overlap_of(profiled.events()) if total else None,
    )


def _count_and_average(buckets: list[int], bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
    """DDP's own averaging, with the bucket's size noted."""
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

    buckets.append(bucket.buffer().nbytes)
    return allreduce_hook(dist.group.WORLD, bucket)


def overlap_of(events: Iterable[Any]) -> float | None:
    """Share of the collectives' time inside the backward pass; None if there were none."""
    collectives: list[Span] = []
    backward: list[Span] = []
    for event in events:
        span = (float(event.time_range.start), float(event.time_range.end))
        if event.name.startswith("gloo:all_reduce"):
            collectives.append(span)
        elif event.name.startswith("autograd::engine::evaluate_function"):
            backward.append(span)
    busy = union(collectives)
    total = sum(end - start for start, end in busy)
    inside = sum(
        max(0.0, min(end, other_end) - max(start, other_start))
        for (start, end), (other_start, other_end) in itertools.product(busy, union(backward))
    )
    return inside / total if total else None


def union(spans: Sequence[Span]) -> list[Span]:
    """Spans of time without overlaps, in order."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def start_ranks(num_ranks: int, *, options: argparse.Namespace) -> dict[str, Any]:
    """Run this script as so many ranks on this machine; the answer is rank 0's."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(num_ranks)}
    words = ["--as-rank", "--size", options.size, "--crops", str(options.crops)]
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, *words],
            env={**os.environ, "OMP_NUM_THREADS": "1", **group, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(num_ranks)
    ]
    answers = [process.communicate()[0] for process in processes]
    codes = [process.returncode for process in processes]
    assert not any(codes), f"ranks ended with {codes}"
    found: dict[str, Any] = json.loads(answers[0].splitlines()[-1])
    return found


def text_of(found: Sequence[dict[str, Any]]) -> str:
    """The table of the measured ranks."""
    columns = ("ranks", "parameters", "buckets", "MB averaged", "MB sent a rank", "early bytes", "overlap")
    rows = [columns]
    for traffic in found:
        overlap = traffic["overlap"]
        rows.append(
            (
                str(traffic["num_ranks"]),
                f"{traffic['num_parameters']:,}",
                str(traffic["num_buckets"]),
                f"{traffic['bucket_bytes'] / 1e6:.1f}",
                f"{traffic['sent_bytes'] / 1e6:.1f}",
                f"{traffic['early_bytes']:.0%}",
                "" if overlap is None else f"{overlap:.0%}",
            )
        )
    return table(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the bench, or print the tables on paper."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4], help="numbers of processes")
    parser.add_argument("--size", default="S/16", help="named size of the masked autoencoder")
    parser.add_argument("--crops", type=int, default=2, help="crops of a rank in a step")
    parser.add_argument("--paper", action="store_true", help="print the tables of docs/scaling.md")
    parser.add_argument("--output", default="", help="JSON file to write")
    parser.add_argument("--as-rank", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.paper:
        print(paper_tables())
        return
    if options.as_rank:
        torch.set_num_threads(1)
        with join_ranks("cpu") as ranks:
            traffic = train_as_rank(ranks, size=options.size, crops_per_rank=options.crops)
        print(json.dumps(dataclasses.asdict(traffic)), flush=True)
        return
    found = []
    for num_ranks in options.ranks:
        note(f"{num_ranks} ranks")
        found.append(start_ranks(num_ranks, options=options))
    facts = machine(torch.device("cpu"))
    print(f"scaling: {options.size}, torch {facts['torch']}, {facts['date']}, commit {facts['commit']}")
    print(text_of(found))
    if options.output:
        record = {"bench": "scaling", "machine": facts, "size": options.size, "results": found}
        Path(options.output).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
