"""How one model lives in several processes: whole in each of them (DDP), or in shards (FSDP2).

Either way the mean over the global batch is the mean over ranks and accumulations, so gradients are averaged
once per step, after its last micro-batch. In shards every process keeps its part of weights, gradients and
optimizer state, and puts one block together when it is needed. Weights travel in fp32 and autocast rounds
them where they are used, as in a whole model, so that both ways give the same numbers; in bf16 they would be
half as many bytes, but norms, whose weights autocast leaves alone, would be rounded too, and do not run so
on CPUs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from phenoscale.models.families import build_model
from phenoscale.models.objectives import TrainingModel
from phenoscale.training.ranks import Ranks
from phenoscale.training.settings import TrainingSettings


def wrap_model(model: TrainingModel, *, settings: TrainingSettings, ranks: Ranks) -> nn.Module:
    """The model with compiled blocks, if asked for, in which all ranks train together."""
    if settings.compile_blocks:
        for block in model.blocks():
            block.compile()
    if ranks.world_size == 1:
        return model
    if settings.parallel == "fsdp":
        return _shard(model, ranks=ranks)
    wrapped = DistributedDataParallel(
        model,
        device_ids=[ranks.device] if ranks.device.type == "cuda" else None,
        gradient_as_bucket_view=True,
    )
    # Tables of positions never change. The running averages of ordinary batch norm are those of a rank's own
    # crops, as everywhere without synchronized statistics; the encoder gets rank 0's.
    wrapped.broadcast_buffers = False
    return wrapped


def _shard(model: TrainingModel, *, ranks: Ranks) -> nn.Module:
    """Shard the model in place. What lies outside of its blocks is small and stays put together in a pass."""
    mesh = init_device_mesh(ranks.device.type, (ranks.world_size,))
    for block in model.blocks():
        fully_shard(block, mesh=mesh, reshard_after_forward=True)
    fully_shard(model, mesh=mesh, reshard_after_forward=False)
    return model


@contextlib.contextmanager
def accumulating(model: nn.Module, *, is_last: bool) -> Iterator[None]:
    """Average gradients over the ranks after the last micro-batch only."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(is_last)
    if isinstance(model, DistributedDataParallel) and not is_last:
        with model.no_sync():
            yield
    else:
        yield


def gradient_norm(model: nn.Module) -> Tensor:
    """The norm of the averaged gradient of all parameters, the same on every rank."""
    gradients = [value.grad for value in model.parameters() if value.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    return norm.full_tensor() if isinstance(norm, DTensor) else norm


@contextlib.contextmanager
def put_together(model: nn.Module) -> Iterator[None]:
    """Keep the weights whole while the context is open: ranks may then call the model at different times."""
    shards = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for shard in shards:
        shard.unshard()
        shard.set_reshard_after_forward(False, recurse=False)
    try:
        yield
    finally:
        for shard in shards:
            shard.set_reshard_after_forward(shard is not model, recurse=False)
            shard.reshard()


def whole_model(model: TrainingModel, *, settings: TrainingSettings, ranks: Ranks) -> TrainingModel:
    """The trained model as one process has it, on rank 0; other ranks, if it is in shards, keep theirs."""
    if not isinstance(model, FSDPModule):
        return model
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state = get_model_state_dict(model, options=options)
    if not ranks.is_first:
        return model
    whole = build_model(settings.model, seed=settings.seed)
    whole.load_state_dict(state)
    return whole.to(ranks.device).train(model.training)
