"""Optimizers: Lion (Chen et al. 2023, arXiv 2302.06675; timm's), AdamW and SGD, in two groups.

Weight decay acts on matrices only. Biases, norms, LayerScale, positions, the class token and the mask token
have none: shrinking a scale or a place toward zero is no regularization.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.optim.lion import Lion
from torch import nn

from phenoscale.training.schedule import learning_rate_at, momentum_at
from phenoscale.training.settings import OptimizerSettings, TrainingSettings


def is_decayed(name: str, parameter: nn.Parameter) -> bool:
    """Say whether weight decay acts on a parameter: only if it is a matrix, and not a table of positions."""
    num_vectors = parameter.shape[:-1].numel() if parameter.ndim else 1
    return num_vectors > 1 and not name.rsplit(".", 1)[-1].startswith("pos")


def parameter_groups(model: nn.Module, *, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups, decayed and not, in the order of the model's parameters."""
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    decayed = [parameter for name, parameter in trained if is_decayed(name, parameter)]
    others = [parameter for name, parameter in trained if not is_decayed(name, parameter)]
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(model: nn.Module, *, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """The optimizer of a model; its learning rate is set anew before every step.

    AdamW is torch's fused one: a kernel for all parameters on a GPU, and a third of the time on a CPU (3.1
    instead of 10.0 ms for 3.2 million parameters, one thread). torch and timm choose for SGD, whose fused
    one cannot be sharded, and Lion: kernels for many parameters on a GPU, one after the other on a CPU,
    where that is quicker.
    """
    groups = parameter_groups(model, weight_decay=settings.weight_decay)
    rate = settings.learning_rate
    if settings.name == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=settings.momentum)
    if settings.name == "adamw":
        return torch.optim.AdamW(groups, lr=rate, betas=settings.betas, fused=True)
    return Lion(groups, lr=rate, betas=settings.betas)


def follow_schedule(optimizer: torch.optim.Optimizer, *, step: int, settings: TrainingSettings) -> None:
    """Set the learning rate of update number `step`, and the momentum where the schedule has a say in it."""
    rate = learning_rate_at(step, peak=settings.optimizer.learning_rate, schedule=settings.schedule)
    momentum = momentum_at(step, schedule=settings.schedule)
    for group in optimizer.param_groups:
        group["lr"] = rate
        if momentum is None:
            continue
        if "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
        elif settings.optimizer.momentum:
            group["momentum"] = momentum
