"""An exponential moving average of the weights, in float32: often a better encoder than the last step's.

average <- decay * average + (1 - decay) * weights after every step, from the initial weights on (Polyak and
Juditsky 1992, doi:10.1137/0330046, with exponential weights). Buffers are not averaged.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """The averaged weights of one model.

    Attributes:
        weights: by the names of the model's parameters; sharded as they are.
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        self._parameters = dict(model.named_parameters())
        self._decay = decay
        self.weights: dict[str, Tensor] = {
            name: parameter.detach().clone() for name, parameter in self._parameters.items()
        }

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights of a step."""
        current = [parameter.detach() for parameter in self._parameters.values()]
        torch._foreach_lerp_(list(self.weights.values()), current, 1.0 - self._decay)

    @torch.no_grad()
    def exchange(self) -> None:
        """Give the model the averaged weights and keep its own, or the other way round: bit for bit."""
        for name, parameter in self._parameters.items():
            own = parameter.detach().clone()
            parameter.copy_(self.weights[name])
            self.weights[name].copy_(own)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model has the averaged weights while the context is open."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()
