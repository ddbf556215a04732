"""Embedding of crops by a vision transformer: crops a second, MFU, memory, against plain eager and the limit.

    python bench/infer.py --output infer.json
    python bench/infer.py --sizes L/8 G/8 --seconds 20 --profile profiles --output infer.json

`ours` is an encoder's `embed` of raw crops in host memory, as the verb calls it: the next crops are copied
while it works; standardization, all tokens through all blocks, mean of the patch tokens, embeddings back in
host memory; its blocks are compiled on a GPU unless --no-compile is given. `eager` is the same with timm's
blocks in eager autocast, one step after the other. MFU is the operations of the blocks (science.md table 1.9,
attention in) over the quickest bf16 matrix product of the same run, and over the data sheet's rate if known.
Sizes are tiny and small on a CPU, B/16, L/8 and G/8 on a GPU; crops are uint8 of six channels.

Needs torch, timm, numpy, pyarrow, tensorstore and safetensors; without an installed phenoscale, set
PYTHONPATH=platform. With one thread (OMP_NUM_THREADS=1) a CPU's numbers are steadiest.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from parts.eager import as_timm_blocks
from parts.runs import Bench, Measured, add_options, open_bench
from torch import Tensor

from phenoscale.inference.copies import copied
from phenoscale.models.families import model_config
from phenoscale.models.flops import vit_flops
from phenoscale.models.preprocess import standardize
from phenoscale.models.vit import seeded
from phenoscale.models.vit_encoder import VitEncoder, vit_encoder_config
from phenoscale.schema.encoders import Precision
from phenoscale.training.precision import autocast, choose_precision

CHANNELS = ("DNA", "ER", "Actin", "RNA", "Mito", "Golgi")
INTENSITY_SCALE = 255.0
FIRST_MICRO_BATCH = 256
CPU_MICRO_BATCH = 64


def build_encoder(size: str, *, precision: Precision) -> VitEncoder:
    """An untrained encoder of a named size; its weights do not matter to its speed."""
    vit = model_config("mae", size=size, num_channels=len(CHANNELS)).encoder
    encoder = VitEncoder(
        vit_encoder_config(vit, channels=CHANNELS, intensity_scale=INTENSITY_SCALE, precision=precision)
    )
    encoder.initialize(seeded(0))
    return encoder.eval()


def raw_crops(size: str, *, num_crops: int) -> Tensor:
    """Random uint8 crops in host memory."""
    crop_size = model_config("mae", size=size, num_channels=len(CHANNELS)).crop_size
    shape = (num_crops, len(CHANNELS), crop_size, crop_size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=seeded(0))


def open_ours(encoder: VitEncoder, crops_BCHW: Tensor, *, bench: Bench) -> Callable[[], Tensor]:
    """The encoder's own `embed`, the next crops on their way while it works, as the verb calls it."""
    encoder.to(bench.device)
    if bench.options.compile:
        encoder.compile_blocks()
    copies = copied(itertools.repeat((None, crops_BCHW.numpy())), device=bench.device)
    upcoming = [next(copies)[1]]

    def embed() -> Tensor:
        found_BD = encoder.embed(upcoming[0])
        upcoming[0] = next(copies)[1]
        return found_BD.cpu()

    return embed


def open_eager(encoder: VitEncoder, crops_BCHW: Tensor, *, bench: Bench) -> Callable[[], Tensor]:
    """The same embeddings as one would first write it."""
    vit = as_timm_blocks(encoder.weights).to(bench.device)
    precision, device = encoder.config.precision, bench.device

    @torch.no_grad()
    def embed() -> Tensor:
        ready_BCHW = standardize(crops_BCHW.to(device), intensity_scale=INTENSITY_SCALE)
        with autocast(precision, device=device):
            *_, tokens_BLD = vit.tokens_by_block(ready_BCHW)
        return tokens_BLD[:, 1:].float().mean(dim=1).cpu()

    return embed


def measure_path(name: str, *, size: str, bench: Bench) -> Measured:
    """Measure one path of one size once, with the largest micro-batch that fits."""
    open_path = {"ours": open_ours, "eager": open_eager}[name]
    precision = choose_precision("auto", device=bench.device)
    first = CPU_MICRO_BATCH if bench.device.type == "cpu" else FIRST_MICRO_BATCH
    vit = model_config("mae", size=size, num_channels=len(CHANNELS)).encoder

    def open_step(micro_batch: int) -> contextlib.AbstractContextManager[Callable[[], Tensor]]:
        encoder, crops_BCHW = build_encoder(size, precision=precision), raw_crops(size, num_crops=micro_batch)
        return contextlib.nullcontext(open_path(encoder, crops_BCHW, bench=bench))

    return bench.measure(
        size,
        path=name,
        start=bench.options.micro_batch or first,
        open_step=open_step,
        facts=lambda _: {"flops_per_crop": vit_flops(vit), "planned_memory_gb": None},
    )


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the bench, print its table and write its JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    return open_bench("infer", options=parser.parse_args(arguments)).run(measure_path)


if __name__ == "__main__":
    main()
