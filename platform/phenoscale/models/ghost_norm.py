"""Ghost batch norm: statistics of small groups of a minibatch, in training and at inference. science.md 1.8.

With minibatches of one plate this is AdaBN (Li et al. 2016, arXiv:1603.04779; Sypetkowski et al. 2023): the
statistics of a plate replace those of the training set, so that what a plate shifts and scales is taken out.
The price is that a crop's values depend on its group. They are reproducible when the groups are: the crops of
one plate in a fixed order, in minibatches of whole groups, the last group completed. So do
`loading.iterate.iterate_groups`, for embedding, and the loader's `same_plate`, for training.

Shapes: B minibatch, C channels, H W pixels, G groups, S crops of one group.
"""

from typing import TypeVar

import torch
from torch import Tensor, nn

from phenoscale.errors import UserError

Network = TypeVar("Network", bound=nn.Module)


class GhostBatchNorm(nn.Module):
    """Batch norm, with an activation after it, over groups of consecutive crops: no running averages.

    A minibatch that is no whole number of groups merges its last, smaller group into the one before it; a
    minibatch that is smaller than one group is one group.
    """

    def __init__(
        self, num_channels: int, *, ghost_batch: int, eps: float = 1e-5, act: nn.Module | None = None
    ) -> None:
        super().__init__()
        check_ghost_batch(ghost_batch)
        self.ghost_batch = ghost_batch
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(num_channels))
        self.bias = nn.Parameter(torch.zeros(num_channels))
        self.act = act or nn.Identity()

    def forward(self, values: Tensor) -> Tensor:
        """Normalize [B, C] or [B, C, H, W].

        Raises:
            UserError: a single crop, which has no companions to take statistics from.
        """
        num_crops = values.shape[0]
        if num_crops < 2:
            raise UserError(
                "ghost batch norm takes its statistics from at least 2 crops of one plate, got 1; embed the "
                "crops of a plate together, or use an encoder without ghost_batch"
            )
        num_groups = max(num_crops // self.ghost_batch, 1)
        num_last = num_crops - (num_groups - 1) * self.ghost_batch
        if num_groups == 1 or num_last == self.ghost_batch:
            normed = self._normalize(values, num_groups=num_groups)
        else:
            equal, last = values[:-num_last], values[-num_last:]
            normed = torch.cat(
                [self._normalize(equal, num_groups=num_groups - 1), self._normalize(last, num_groups=1)]
            )
        activated: Tensor = self.act(normed)
        return activated

    def _normalize(self, values: Tensor, *, num_groups: int) -> Tensor:
        """One call for all groups, of equal size: they stand side by side, as channels of their own."""
        B, C, *pixels = values.shape
        G, S = num_groups, B // num_groups
        beside = values.reshape(G, S, C, *pixels).transpose(0, 1).reshape(S, G * C, *pixels)
        weight, bias = self.weight.repeat(G), self.bias.repeat(G)
        normed = nn.functional.batch_norm(beside, None, None, weight, bias, training=True, eps=self.eps)
        return normed.reshape(S, G, C, *pixels).transpose(0, 1).reshape(values.shape)


def check_ghost_batch(ghost_batch: int) -> None:
    """Raise a UserError unless statistics can be taken from groups of so many crops."""
    if ghost_batch < 2:
        raise UserError(
            f"ghost_batch {ghost_batch} is too small: statistics need groups of at least 2 crops (published: "
            "16); choose another, or leave ghost_batch out for ordinary batch norm"
        )


def swap_batch_norms(network: Network, *, ghost_batch: int) -> Network:
    """Put a ghost batch norm of the same weights in the place of every batch norm inside a network."""
    for name, child in list(network.named_children()):
        if isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d)):
            setattr(network, name, _ghost_of(child, ghost_batch=ghost_batch))
        else:
            swap_batch_norms(child, ghost_batch=ghost_batch)
    return network


def _ghost_of(norm: nn.BatchNorm1d | nn.BatchNorm2d, *, ghost_batch: int) -> GhostBatchNorm:
    act = getattr(norm, "act", None)  # timm's batch norms carry the activation that follows them
    ghost = GhostBatchNorm(norm.num_features, ghost_batch=ghost_batch, eps=norm.eps, act=act)
    ghost.load_state_dict({"weight": norm.weight, "bias": norm.bias})
    return ghost
