"""Untrained weights of the convolutional networks."""

import torch
from torch import nn


def initialize_convolutions(module: nn.Module, *, generator: torch.Generator) -> None:
    """Draw all convolutions and linear layers of a network from `generator`, in the order of its modules.

    Kernels are normal with variance 2 / inputs (He et al. 2015), linear weights Xavier-uniform, biases zero.
    Norms keep the values they are built with.
    """
    for child in module.modules():
        if not isinstance(child, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            continue
        if isinstance(child, nn.Linear):
            nn.init.xavier_uniform_(child.weight, generator=generator)
        else:
            # the weights of a transposed convolution have their inputs in the first dimension
            fan = "fan_out" if isinstance(child, nn.ConvTranspose2d) else "fan_in"
            nn.init.kaiming_normal_(child.weight, mode=fan, nonlinearity="relu", generator=generator)
        if child.bias is not None:
            nn.init.zeros_(child.bias)
