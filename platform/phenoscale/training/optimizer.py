"""Optimizers: Lion (Chen et al. 2023, arXiv 2302.06675; timm's), AdamW and plain SGD, in two groups.

Weight decay acts on matrices only. Biases, norms, LayerScale, positions, the class token and the mask token
have none: shrinking a scale or a place toward zero is no regularization.
"""

from __future__ import annotations

import torch
from timm.optim.lion import Lion
from torch import nn

from phenoscale.training.settings import OptimizerSettings


def is_decayed(name: str, parameter: nn.Parameter) -> bool:
    """Say whether weight decay acts on a parameter: only if it is a matrix, and not a table of positions."""
    num_vectors = parameter.shape[:-1].numel() if parameter.ndim else 1
    return num_vectors > 1 and not name.rsplit(".", 1)[-1].startswith("pos")


def parameter_groups(model: nn.Module, *, weight_decay: float) -> list[dict[str, object]]:
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
    """The optimizer of a model; its learning rate is set anew before every step."""
    groups = parameter_groups(model, weight_decay=settings.weight_decay)
    if settings.name == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate)
    if settings.name == "adamw":
        return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas)
    return Lion(groups, lr=settings.learning_rate, betas=settings.betas)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the learning rate of all parameter groups."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
