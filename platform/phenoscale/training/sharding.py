"""How one model lives in several processes: whole in each of them, with gradients averaged over all.

The mean over the global batch is the mean over ranks and accumulations, so gradients are averaged once per
step, after its last micro-batch.
"""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from phenoscale.training.ranks import Ranks
from phenoscale.training.settings import TrainingSettings


def wrap_model(model: nn.Module, *, settings: TrainingSettings, ranks: Ranks) -> nn.Module:
    """The model with compiled blocks, if asked for, and with gradients averaged over the ranks."""
    if settings.compile_blocks:
        for block in [*model.encoder.blocks, *model.decoder.blocks]:
            block.compile()
    if ranks.world_size == 1:
        return model
    devices = [ranks.device] if ranks.device.type == "cuda" else None
    wrapped = DistributedDataParallel(model, device_ids=devices, gradient_as_bucket_view=True)
    wrapped.broadcast_buffers = False  # the only buffers are tables of positions, which never change
    return wrapped


def accumulating(model: nn.Module, *, is_last: bool) -> contextlib.AbstractContextManager[None]:
    """Average gradients over the ranks after the last micro-batch only."""
    if is_last or not isinstance(model, DistributedDataParallel):
        return contextlib.nullcontext()
    no_sync: contextlib.AbstractContextManager[None] = model.no_sync()
    return no_sync


def gradient_norm(model: nn.Module) -> Tensor:
    """The norm of the averaged gradient of all parameters, the same on every rank."""
    gradients = [value.grad for value in model.parameters() if value.grad is not None]
    return torch.nn.utils.get_total_norm(gradients)
