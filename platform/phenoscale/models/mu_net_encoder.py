"""The encoder of a MU-Net: a convolutional pyramid whose deepest blocks are read out. science.md 1.1.

Shapes: B minibatch, C channels, H W pixels, D embedding (the last width).
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from phenoscale.errors import UserError
from phenoscale.models.convolutions import initialize_convolutions
from phenoscale.models.readout import BlockReader
from phenoscale.schema.encoders import EncoderConfig

CHANNELS_PER_GROUP = 8


def channel_norm(num_channels: int) -> nn.GroupNorm:
    """Norm over groups of 8 channels of one crop: its companions in the minibatch have no say."""
    return nn.GroupNorm(num_channels // CHANNELS_PER_GROUP, num_channels)


class ResidualUnit(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut, each after a norm and ReLU."""

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        self.norm1 = channel_norm(num_in)
        self.conv1 = nn.Conv2d(num_in, num_out, 3, padding=1, bias=False)
        self.norm2 = channel_norm(num_out)
        self.conv2 = nn.Conv2d(num_out, num_out, 3, padding=1, bias=False)
        self.shortcut = nn.Identity() if num_in == num_out else nn.Conv2d(num_in, num_out, 1, bias=False)

    def forward(self, maps_BCHW: Tensor) -> Tensor:
        """Maps of the same height and width."""
        hidden = self.conv1(self.norm1(maps_BCHW).relu_())
        added: Tensor = self.shortcut(maps_BCHW) + self.conv2(self.norm2(hidden).relu_())
        return added


class MuNetPyramid(nn.Module):
    """Stages of halving resolution, one residual unit each, and a bottleneck of several."""

    def __init__(self, *, num_channels: int, widths: tuple[int, ...], num_blocks: int) -> None:
        super().__init__()
        check_widths(widths)
        with torch.random.fork_rng(devices=[]):
            self.stem = nn.Conv2d(num_channels, widths[0], 3, padding=1)
            self.stages = nn.ModuleList(ResidualUnit(width, width) for width in widths[:-1])
            self.downs = nn.ModuleList(
                nn.Conv2d(width, deeper, 2, stride=2) for width, deeper in pairwise(widths)
            )
            self.blocks = nn.ModuleList(ResidualUnit(widths[-1], widths[-1]) for _ in range(num_blocks))

    def descend(self, crops_BCHW: Tensor) -> tuple[Tensor, list[Tensor]]:
        """What enters the bottleneck, and what every stage hands across to the decoder, the finest first."""
        maps, across = self.stem(crops_BCHW), []
        for stage, down in zip(self.stages, self.downs, strict=True):
            maps = stage(maps)
            across.append(maps)
            maps = down(maps)
        return maps, across

    def forward(self, crops_BCHW: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The maps after the bottleneck and those that the stages hand across."""
        maps, across = self.descend(crops_BCHW)
        for block in self.blocks:
            maps = block(maps)
        return maps, across


def check_widths(widths: tuple[int, ...]) -> None:
    """Raise a UserError unless there are at least two stages, whose channels split into the norm's groups."""
    if len(widths) < 2 or any(width <= 0 or width % CHANNELS_PER_GROUP for width in widths):
        raise UserError(
            f"widths {widths} must name at least two stages, each of a positive multiple of "
            f"{CHANNELS_PER_GROUP} channels (its norm takes groups); choose others, such as 32, 64, 128"
        )


class MuNetEncoder(BlockReader):
    """The pyramid; an embedding is the mean over space of the maps after a block of the bottleneck."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.pyramid = MuNetPyramid(
            num_channels=len(config.channels), widths=config.widths, num_blocks=config.num_blocks
        )

    @property
    def weights(self) -> MuNetPyramid:
        """The pyramid."""
        return self.pyramid

    def initialize(self, generator: torch.Generator) -> None:
        """Draw untrained weights: those from which training with the same seed starts."""
        initialize_convolutions(self.pyramid, generator=generator)

    def read_blocks(self, crops_BCHW: Tensor, *, first: int) -> Iterator[Tensor]:
        """The spatial mean after each block of the bottleneck from `first` on: [B, D]."""
        maps, _ = self.pyramid.descend(crops_BCHW)
        for place, block in enumerate(self.pyramid.blocks):
            maps = block(maps)
            if place >= first:
                yield maps.float().mean(dim=(2, 3))


def mu_net_encoder_config(
    *, crop_size: int, widths: tuple[int, ...], num_blocks: int, **facts: Any
) -> EncoderConfig:
    """The encoder config of a pyramid; `facts`: `channels`, `intensity_scale` and whatever else is known."""
    return EncoderConfig(
        architecture="mu_net",
        crop_size=crop_size,
        widths=widths,
        num_blocks=num_blocks,
        embedding_dim=widths[-1],
        pooling="spatial_mean",
        **facts,
    )
