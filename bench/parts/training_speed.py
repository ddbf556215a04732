"""Where the time of a training goes: to the loader alone, to the model alone, or to both together.

`loader` reads, copies to the device and drops; `model` trains on one minibatch again and again; `both` is a
training without record and checkpoints. If both are as fast as the slower of the two, they overlap.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from itertools import islice
from typing import Literal

import torch

from phenoscale.loading.crops import CropMinibatch
from phenoscale.loading.prefetch import Prefetcher
from phenoscale.models.families import build_model
from phenoscale.training.loop import build_loss, own_randomness, prepare, take_step
from phenoscale.training.micro_batches import MicroBatchLoader
from phenoscale.training.settings import plan_batch
from phenoscale.training.task import CropSource, TrainingTask

Part = Literal["both", "loader", "model"]


@dataclasses.dataclass(frozen=True)
class Speed:
    """How fast a part of a training is on this machine, over all its processes."""

    num_crops: int
    seconds: float

    @property
    def crops_per_second(self) -> float:
        """Crops that were read, or trained on, in a second."""
        return self.num_crops / self.seconds


def measure_speed(task: TrainingTask, *, part: Part, num_steps: int, num_warmup_steps: int = 1) -> Speed:
    """Run a part of a training for some steps; nothing is written and nothing kept.

    Args:
        task: the training.
        part: which part of it.
        num_steps: steps that are timed.
        num_warmup_steps: steps before them, in which memory is allocated and blocks are compiled.
    """
    settings, ranks = task.settings, task.ranks
    schedule = dataclasses.replace(settings.schedule, num_steps=num_warmup_steps + num_steps)
    settings = dataclasses.replace(settings, schedule=schedule)
    source = OneMinibatch(task.source) if part == "model" else task.source
    task = dataclasses.replace(task, settings=settings, source=source)
    with own_randomness(ranks):
        model = build_model(settings.model, seed=settings.seed)
        batch = plan_batch(
            settings.global_batch,
            micro_batch=settings.micro_batch,
            num_ranks=ranks.world_size,
            same_plate=model.needs_same_plate,
        )
        trained = None if part == "loader" else prepare(model, settings=settings, ranks=ranks)
        compute_loss = build_loss(settings, device=ranks.device)
        started = 0.0
        with MicroBatchLoader(
            task, batch=batch, num_mask_tokens=model.num_mask_tokens, first_step=0
        ) as loader:
            for step in range(schedule.num_steps):
                if step == num_warmup_steps:
                    _wait_for(ranks.device)
                    started = time.monotonic()
                if trained is None:
                    assert sum(1 for _ in islice(loader, batch.num_accumulations)), "crops come at every step"
                else:
                    take_step(trained, loader, step=step, compute_loss=compute_loss)
            _wait_for(ranks.device)
    return Speed(num_steps * settings.global_batch, time.monotonic() - started)


class OneMinibatch:
    """A source that reads its first minibatch once and gives it at every step."""

    def __init__(self, source: CropSource) -> None:
        self._source = source

    @property
    def num_samples(self) -> int:
        """Crops of one epoch."""
        return self._source.num_samples

    def prefetch(
        self, first_step: int, num_steps: int, *, global_batch: int, rank: int, world_size: int
    ) -> Prefetcher[CropMinibatch]:
        """The same minibatch for each of the steps."""
        share = {"global_batch": global_batch, "rank": rank, "world_size": world_size}
        with self._source.prefetch(first_step, 1, **share) as minibatches:
            first = next(iter(minibatches))

        def again() -> Iterator[CropMinibatch]:
            for _ in range(num_steps):
                yield first

        return Prefetcher(again(), depth=1, label="one minibatch")


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
