"""DenseNet with a two-layer neck, whose output is the embedding; AdaBN with ghost batch norm. science.md 1.8.

Without `ghost_batch` its batch norms keep running averages: at inference every crop is embedded on its own.
With it, an embedding depends on the crops of its group, see `ghost_norm`.

Shapes: B minibatch, C channels, H W pixels, D embedding.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from timm.models.densenet import DenseNet
from torch import Tensor, nn

from phenoscale.errors import UserError
from phenoscale.models.convolutions import initialize_convolutions
from phenoscale.models.ghost_norm import swap_batch_norms
from phenoscale.models.readout import BlockReader
from phenoscale.schema.encoders import EncoderConfig


@dataclass(frozen=True, kw_only=True)
class DenseSize:
    """A DenseNet and the hidden layer of its neck.

    Attributes:
        growth_rate: maps that each dense layer adds; the stem has twice as many.
        layers: dense layers of each dense block.
        neck_hidden: length of the neck's hidden layer.
    """

    growth_rate: int
    layers: tuple[int, ...]
    neck_hidden: int


# The hidden layer of the published neck is not public: 512 brings backbone, neck of 128 and the classes of
# RxRx1 to the published 28 million parameters.
DENSE_SIZES: dict[str, DenseSize] = {
    "densenet161": DenseSize(growth_rate=48, layers=(6, 12, 36, 24), neck_hidden=512),
    "dense-small": DenseSize(growth_rate=16, layers=(4, 8, 8), neck_hidden=256),
    "dense-tiny": DenseSize(growth_rate=8, layers=(2, 2), neck_hidden=32),
}


class DenseNetwork(nn.Module):
    """timm's DenseNet without its classifier, the mean over space, and the neck."""

    def __init__(
        self, backbone: str, *, num_channels: int, neck_dim: int, ghost_batch: int | None = None
    ) -> None:
        super().__init__()
        size = find_dense_size(backbone)
        with torch.random.fork_rng(devices=[]):
            net = DenseNet(
                growth_rate=size.growth_rate, block_config=size.layers, in_chans=num_channels, num_classes=0
            )
            self.features = net.features
            self.neck = nn.Sequential(
                nn.Linear(net.num_features, size.neck_hidden, bias=False),
                nn.BatchNorm1d(size.neck_hidden),
                nn.ReLU(),
                nn.Linear(size.neck_hidden, neck_dim),
            )
        if ghost_batch is not None:
            swap_batch_norms(self, ghost_batch=ghost_batch)

    @property
    def dense_blocks(self) -> list[nn.Module]:
        """The dense blocks, from the input."""
        return [child for name, child in self.features.named_children() if name.startswith("denseblock")]

    def forward(self, crops_BCHW: Tensor) -> Tensor:
        """The neck's output: [B, D]."""
        embedded_BD: Tensor = self.neck(self.features(crops_BCHW).mean(dim=(2, 3)))
        return embedded_BD


def find_dense_size(backbone: str | None) -> DenseSize:
    """The DenseNet of a name.

    Raises:
        UserError: there is none of that name.
    """
    if backbone not in DENSE_SIZES:
        raise UserError(f"there is no DenseNet {backbone!r}; choose one of {', '.join(DENSE_SIZES)}")
    return DENSE_SIZES[backbone]


class DenseNetEncoder(BlockReader):
    """A DenseNet with its neck: one readable block, the neck's output."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        assert config.timm_model is not None and config.neck_dim is not None, "the config was checked"
        self.network = DenseNetwork(
            config.timm_model,
            num_channels=len(config.channels),
            neck_dim=config.neck_dim,
            ghost_batch=config.ghost_batch,
        )

    @property
    def weights(self) -> DenseNetwork:
        """The network, running averages included where it has them."""
        return self.network

    def initialize(self, generator: torch.Generator) -> None:
        """Draw untrained weights: those from which training with the same seed starts."""
        initialize_convolutions(self.network, generator=generator)

    def read_blocks(self, crops_BCHW: Tensor, *, first: int) -> Iterator[Tensor]:
        """The neck's output, the one block there is: [B, D]."""
        assert first == 0, f"there is no block {first}"
        yield self.network(crops_BCHW)


def densenet_encoder_config(
    backbone: str, *, crop_size: int, neck_dim: int, ghost_batch: int | None, **facts: Any
) -> EncoderConfig:
    """The encoder config of a DenseNet; `facts`: `channels`, `intensity_scale` and whatever else is known."""
    return EncoderConfig(
        architecture="densenet",
        timm_model=backbone,
        crop_size=crop_size,
        neck_dim=neck_dim,
        embedding_dim=neck_dim,
        ghost_batch=ghost_batch,
        pooling="neck",
        **facts,
    )
