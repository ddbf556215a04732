"""Micro-batches on the device: crops, and the noise of their masks or their labels.

On a GPU a thread pins them and copies them on a stream of its own, one ahead, so that neither drawing masks
nor the copy keeps the GPU waiting. On a CPU there is nothing to copy, and a thread would only take
processor time.

Shapes: B crops of one forward pass, C channels, H W pixels, L mask tokens.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from phenoscale.loading.crops import CropMinibatch
from phenoscale.loading.plan import mask_noise
from phenoscale.loading.prefetch import Prefetcher
from phenoscale.training.settings import BatchPlan
from phenoscale.training.task import TrainingTask


@dataclass(frozen=True, eq=False)
class MicroBatch:
    """What goes through the model at once.

    Attributes:
        crops_BCHW: raw intensities.
        noise_or_labels: noise [B, L] of the masks, or labels [B]: the second argument of the model.
        present_BC: which channels each crop has, on the CPU because it decides shapes; None if all have all.
        minibatch: this process's share of the step's minibatch, of which this is a part.
        is_there: set on a GPU when the copy is done.
    """

    crops_BCHW: Tensor
    noise_or_labels: Tensor
    present_BC: Tensor | None
    minibatch: CropMinibatch
    is_there: torch.cuda.Event | None = None

    @property
    def arguments(self) -> tuple[Tensor, ...]:
        """What the model gets after the crops."""
        return (self.noise_or_labels,) if self.present_BC is None else (self.noise_or_labels, self.present_BC)


class MicroBatchLoader:
    """The micro-batches of a rank, step after step, on its device; use it in a `with` block.

    Args:
        task: the training.
        batch: how its global batch is divided.
        num_mask_tokens: of the model.
        first_step: steps that are done.
    """

    def __init__(
        self, task: TrainingTask, *, batch: BatchPlan, num_mask_tokens: int, first_step: int
    ) -> None:
        self.task = task
        self.batch = batch
        self._num_mask_tokens = num_mask_tokens
        self._first_step = first_step
        self._context = contextlib.ExitStack()

    @property
    def waited_seconds(self) -> float:
        """How long the caller has waited for what comes from the loader."""
        return self._awaited.waited_seconds

    def __enter__(self) -> Self:
        settings, ranks = self.task.settings, self.task.ranks
        minibatches = self._context.enter_context(
            self.task.source.prefetch(
                self._first_step,
                settings.schedule.num_steps - self._first_step,
                global_batch=settings.global_batch,
                rank=ranks.rank,
                world_size=ranks.world_size,
            )
        )
        self._awaited: Prefetcher[CropMinibatch] | Prefetcher[MicroBatch] = minibatches
        self._items = self._divided(minibatches)
        if ranks.device.type == "cuda":
            ahead = Prefetcher(_copied(self._items, device=ranks.device), depth=1, label="copy to the GPU")
            self._awaited, self._items = ahead, iter(self._context.enter_context(ahead))
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()

    def __iter__(self) -> Iterator[MicroBatch]:
        return self

    def __next__(self) -> MicroBatch:
        micro = next(self._items)
        if micro.is_there is not None:
            stream = torch.cuda.current_stream()
            stream.wait_event(micro.is_there)
            for tensor in (micro.crops_BCHW, micro.noise_or_labels):
                tensor.record_stream(stream)  # its memory is not given away before this stream is done
        return micro

    def _divided(self, minibatches: Iterable[CropMinibatch]) -> Iterator[MicroBatch]:
        size = self.batch.micro_batch
        for minibatch in minibatches:
            crops_BCHW = torch.from_numpy(minibatch.crops_BCHW)
            noise_or_labels = self._noise_or_labels(minibatch)
            present_BC = None if minibatch.present_BC is None else torch.from_numpy(minibatch.present_BC)
            for start in range(0, len(crops_BCHW), size):
                part = slice(start, start + size)
                present = None if present_BC is None else present_BC[part]
                yield MicroBatch(crops_BCHW[part], noise_or_labels[part], present, minibatch)

    def _noise_or_labels(self, minibatch: CropMinibatch) -> Tensor:
        if not self._num_mask_tokens:
            assert self.task.labels is not None, "a family without a mask learns from labels"
            return torch.from_numpy(self.task.labels[minibatch.rows])
        return torch.from_numpy(
            mask_noise(
                minibatch.samples,
                seed=self.task.settings.seed,
                epoch=minibatch.epochs,
                num_tokens=self._num_mask_tokens,
            )
        )


def _copied(items: Iterable[MicroBatch], *, device: torch.device) -> Iterator[MicroBatch]:
    """The same on the GPU; the copies are under way when they are handed out."""
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    for micro in items:
        with torch.cuda.device(device), torch.cuda.stream(stream):
            crops_BCHW, noise_or_labels = (
                tensor.pin_memory().to(device, non_blocking=True)
                for tensor in (micro.crops_BCHW, micro.noise_or_labels)
            )
            is_there = torch.cuda.Event()  # type: ignore[no-untyped-call]
            is_there.record(stream)
        yield MicroBatch(crops_BCHW, noise_or_labels, micro.present_BC, micro.minibatch, is_there)
