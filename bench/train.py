"""Training steps of masked autoencoders: crops a second, MFU and memory, against plain eager and the limit.

    python bench/train.py --output train.json
    python bench/train.py --sizes L/8 G/8 --seconds 20 --profile profiles --output train.json

`ours` is the training loop's own step: crops from memory through the loader, standardization, mask, forward,
loss, backward, optimizer. `eager` is the same model of timm's blocks in eager autocast, without compilation
and without copying ahead. MFU is three forward passes' operations, attention and decoder in, recomputation
out, over the quickest bf16 matrix product of the same run (`limit`), and over the data sheet's rate where it
is known. Sizes are tiny and small on a CPU, B/16, L/8 and G/8 on a GPU; crops are uint8 of six channels.

Needs torch, timm, numpy, pyarrow, tensorstore and safetensors; without an installed phenoscale, set
PYTHONPATH=platform. With one thread (OMP_NUM_THREADS=1) a CPU's numbers are steadiest.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from parts.crops import NUM_CHANNELS, SameCrops
from parts.eager import as_timm_blocks
from parts.measure import (
    usable_bytes,
)
from parts.runs import Bench, Measured, add_options, open_bench

from phenoscale.models.families import build_model, model_config
from phenoscale.models.flops import meta_model, training_flops
from phenoscale.models.losses import loss_terms
from phenoscale.models.preprocess import standardize
from phenoscale.training.loop import build_loss, prepare, take_step
from phenoscale.training.memory import crop_memory, state_memory
from phenoscale.training.micro_batches import MicroBatchLoader
from phenoscale.training.optimizer import build_optimizer
from phenoscale.training.precision import autocast, choose_precision
from phenoscale.training.ranks import Ranks
from phenoscale.training.settings import ScheduleSettings, TrainingSettings, plan_batch
from phenoscale.training.task import TrainingTask

INTENSITY_SCALE = 255.0
MANY_STEPS = 10**9
MAX_MICRO_BATCH = 1024
CPU_MICRO_BATCH = 32

Step = Callable[[], object]
Open = Callable[[TrainingSettings], contextlib.AbstractContextManager[Step]]


@contextmanager
def open_ours(settings: TrainingSettings, *, device: torch.device) -> Iterator[Step]:
    """The training loop's own step."""
    ranks = Ranks(rank=0, world_size=1, device=device)
    source = SameCrops(settings.global_batch, crop_size=settings.model.crop_size)
    batch = plan_batch(settings.global_batch, micro_batch=settings.micro_batch, num_ranks=1)
    model = build_model(settings.model, seed=settings.seed)
    trained = prepare(model, settings=settings, ranks=ranks)
    compute_loss = build_loss(settings, device=device)
    steps = itertools.count()
    with tempfile.TemporaryDirectory() as folder:
        task = TrainingTask(
            settings=settings,
            source=source,
            field_ids=["bench"] * settings.global_batch,
            output=SimpleNamespace(folder=Path(folder)),  # of phenoscale.stages, but for pydantic
            ranks=ranks,
        )
        with MicroBatchLoader(
            task, batch=batch, num_mask_tokens=model.num_mask_tokens, first_step=0
        ) as loader:
            yield lambda: take_step(trained, loader, step=next(steps), compute_loss=compute_loss)


@contextmanager
def open_eager(settings: TrainingSettings, *, device: torch.device) -> Iterator[Step]:
    """The step as one would first write it."""
    model = as_timm_blocks(build_model(settings.model, seed=settings.seed)).to(device).train()
    optimizer = build_optimizer(model, settings=settings.optimizer)
    crops_BCHW = torch.from_numpy(
        SameCrops(settings.global_batch, crop_size=settings.model.crop_size).crops_BCHW
    )
    num_mask_tokens = settings.model.num_tokens

    def step() -> float:
        ready_BCHW = standardize(crops_BCHW.to(device), intensity_scale=settings.intensity_scale)
        noise_BL = torch.rand(len(crops_BCHW), num_mask_tokens, device=device)
        with autocast(settings.precision, device=device):
            prediction = model(ready_BCHW, noise_BL)
        terms = loss_terms(prediction, loss=settings.loss)
        terms["loss"].backward()
        loss = terms["loss"].item()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    yield step


def settings_for(size: str, *, micro_batch: int, bench: Bench) -> TrainingSettings:
    """The settings of a training of one forward pass a step."""
    return TrainingSettings(
        model=model_config("mae", size=size, num_channels=NUM_CHANNELS),
        schedule=ScheduleSettings(num_steps=MANY_STEPS),
        global_batch=micro_batch,
        intensity_scale=INTENSITY_SCALE,
        precision=choose_precision("auto", device=bench.device),
        compile_blocks=bench.options.compile,
        recompute=bench.options.recompute,
    )


def first_micro_batch(size: str, *, bench: Bench) -> int:
    """The micro-batch to try first: as asked for, or the power of two that ought to fit."""
    if bench.options.micro_batch:
        return int(bench.options.micro_batch)
    if bench.device.type == "cpu":
        return CPU_MICRO_BATCH
    settings = settings_for(size, micro_batch=1, bench=bench)
    room = usable_bytes(bench.device) - planned_bytes(settings, micro_batch=0)
    fits = max(1, min(MAX_MICRO_BATCH, int(room // crop_memory(settings).total)))
    return 1 << (fits.bit_length() - 1)


def planned_bytes(settings: TrainingSettings, *, micro_batch: int) -> float:
    """What `phenoscale plan training` says that such a training takes."""
    model = meta_model(settings.model)
    state = state_memory(
        settings,
        num_parameters=sum(value.numel() for value in model.parameters()),
        largest_block=max(sum(value.numel() for value in block.parameters()) for block in model.blocks()),
    )
    return float(state.total + micro_batch * crop_memory(settings).total)


def measure_path(name: str, *, size: str, bench: Bench) -> Measured:
    """Measure one path of one size once, with the largest micro-batch that fits."""
    open_path = {"ours": open_ours, "eager": open_eager}[name]

    def facts(micro_batch: int) -> dict[str, Any]:
        settings = settings_for(size, micro_batch=micro_batch, bench=bench)
        planned = planned_bytes(settings, micro_batch=micro_batch)
        return {"flops_per_crop": training_flops(settings.model), "planned_memory_gb": planned / 1e9}

    return bench.measure(
        size,
        path=name,
        start=first_micro_batch(size, bench=bench),
        open_step=lambda n: open_path(settings_for(size, micro_batch=n, bench=bench), device=bench.device),
        facts=facts,
    )


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the bench, print its table and write its JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.add_argument(
        "--recompute",
        choices=["none", "elementwise", "blocks"],
        default="none",
        help="what the backward pass computes again",
    )
    bench = open_bench("train", options=parser.parse_args(arguments))
    return bench.run(measure_path)


if __name__ == "__main__":
    main()
