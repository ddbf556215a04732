"""Untrained weights of the convolutional networks."""

import math

import torch
from torch import nn


def initialize_convolutions(module: nn.Module, *, generator: torch.Generator) -> None:
    """Draw all convolutions and linear layers of a network from `generator`, in the order of its modules.

    Kernels are normal with variance 2 / inputs (He et al. 2015, arXiv:1502.01852), linear weights
    Xavier-uniform, biases zero. Norms keep the values they are built with.
    """
    for child in module.modules():
        if isinstance(child, nn.Linear):
            nn.init.xavier_uniform_(child.weight, generator=generator)
        elif isinstance(child, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(child.weight, std=math.sqrt(2 / _num_inputs(child)), generator=generator)
        else:
            continue
        if child.bias is not None:
            nn.init.zeros_(child.bias)


def _num_inputs(layer: nn.Conv2d | nn.ConvTranspose2d) -> int:
    """How many values are summed into one of the output, away from the border."""
    reach = math.prod(layer.kernel_size)
    if isinstance(layer, nn.ConvTranspose2d):
        reach //= math.prod(layer.stride)
    return layer.in_channels * reach
