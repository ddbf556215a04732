"""MU-Net: a U-Net that restores hidden patches of a crop. MAE paper tables 3 and 6; science.md 1.1, 1.3, 1.6.

Published are the widths of the stages, M 32/64/128/256/512 and L 32/64/128/256/512/1024, the parameters, 52
and 135 million, and the masks tried, 25, 50 and 75 %. The rest is inferred. With one stage more a U-Net of
equal depth has four times the parameters, but the published counts differ by 2.6, so the depth must differ:
here every stage has one residual unit of two convolutions, on the way down as on the way up, and the
bottleneck as many as bring the total near the published one, 10 units for M (52.7 million with 6 channels,
1.3 % above) and 6 for L (135.3 million, .2 % above). Norms are over channels of one crop, so that embeddings
do not depend on the minibatch; the embedding is the mean over space of the bottleneck, after any unit of it.

Shapes: B minibatch, C channels, H W pixels, L patches, P = C * p * p pixels of a patch.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from phenoscale.errors import UserError
from phenoscale.models.convolutions import initialize_convolutions
from phenoscale.models.mae import mask_patches
from phenoscale.models.mu_net_encoder import (
    MuNetPyramid,
    ResidualUnit,
    channel_norm,
    check_widths,
    mu_net_encoder_config,
)
from phenoscale.models.objectives import MaskedPrediction, TrainingModel
from phenoscale.models.vit import check_grid, patchify, seeded
from phenoscale.schema.encoders import EncoderConfig

# Every named size: what MuNetConfig needs besides the number of channels. The two sizes made for a laptop
# are about as quick to train as the masked autoencoder of the same name.
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"crop_size": 64, "patch_size": 8, "widths": (8, 16, 32), "num_blocks": 2},
    "small": {"crop_size": 64, "patch_size": 8, "widths": (8, 16, 32, 64, 128), "num_blocks": 3},
    "M": {"crop_size": 256, "patch_size": 16, "widths": (32, 64, 128, 256, 512), "num_blocks": 10},
    "L": {"crop_size": 256, "patch_size": 16, "widths": (32, 64, 128, 256, 512, 1024), "num_blocks": 6},
}


@dataclass(frozen=True, kw_only=True)
class MuNetConfig:
    """Pyramid and mask of a MU-Net.

    Attributes:
        num_channels: channels of a crop.
        crop_size: height and width of a crop, in pixels.
        patch_size: height and width of the patches that are hidden and restored, in pixels.
        widths: channels of each stage, the finest first; the last is the bottleneck and the embedding.
        num_blocks: residual units of the bottleneck; each can be read.
        mask_ratio: fraction of the patches that is hidden.
    """

    num_channels: int
    crop_size: int
    patch_size: int
    widths: tuple[int, ...]
    num_blocks: int
    mask_ratio: float = 0.75

    def __post_init__(self) -> None:
        check_grid(self.crop_size, patch_size=self.patch_size)
        check_widths(self.widths)
        if self.num_blocks < 1:
            raise UserError(f"num_blocks {self.num_blocks} leaves no bottleneck; choose at least 1")
        halvings = len(self.widths) - 1
        if self.crop_size % 2**halvings:
            raise UserError(
                f"crop_size {self.crop_size} px cannot be halved {halvings} times, as {len(self.widths)} "
                f"widths need; choose a multiple of {2**halvings} px or fewer widths"
            )
        if not 0 < self.num_kept < self.num_tokens:
            raise UserError(
                f"mask_ratio {self.mask_ratio} keeps {self.num_kept} of {self.num_tokens} "
                "patches: at least one must be kept and one removed; choose a mask_ratio near .75"
            )

    @property
    def num_tokens(self) -> int:
        """Patches of one crop: the width of the mask noise."""
        return (self.crop_size // self.patch_size) ** 2

    @property
    def num_kept(self) -> int:
        """Patches that the encoder sees."""
        return int(self.num_tokens * (1 - self.mask_ratio))


class UpStage(nn.Module):
    """Doubles the resolution of the maps from below and merges what the encoder's stage hands across."""

    def __init__(self, deeper: int, width: int) -> None:
        super().__init__()
        self.norm = channel_norm(deeper)
        self.up = nn.ConvTranspose2d(deeper, width, 2, stride=2)
        self.unit = ResidualUnit(2 * width, width)

    def forward(self, maps_BCHW: Tensor, across_BCHW: Tensor) -> Tensor:
        """Maps of twice the height and width."""
        raised = self.up(self.norm(maps_BCHW).relu_())
        merged: Tensor = self.unit(torch.cat([raised, across_BCHW.to(raised.dtype)], dim=1))
        return merged


class MuNetDecoder(nn.Module):
    """The pyramid upside down, from the bottleneck to pixels."""

    def __init__(self, config: MuNetConfig) -> None:
        super().__init__()
        rising = config.widths[::-1]
        with torch.random.fork_rng(devices=[]):
            self.stages = nn.ModuleList(UpStage(deeper, width) for deeper, width in pairwise(rising))
            self.norm = channel_norm(config.widths[0])
            self.head = nn.Conv2d(config.widths[0], config.num_channels, 1)

    def forward(self, maps_BCHW: Tensor, across: list[Tensor]) -> Tensor:
        """The restored crops: [B, C, H, W]."""
        for stage, across_BCHW in zip(self.stages, reversed(across), strict=True):
            maps_BCHW = stage(maps_BCHW, across_BCHW)
        restored_BCHW: Tensor = self.head(self.norm(maps_BCHW).relu_())
        return restored_BCHW


class MuNet(TrainingModel):
    """A pyramid and the decoder that trains it; all weights follow from `seed`."""

    config: MuNetConfig

    def __init__(self, config: MuNetConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.encoder = MuNetPyramid(
            num_channels=config.num_channels, widths=config.widths, num_blocks=config.num_blocks
        )
        self.decoder = MuNetDecoder(config)
        # Two streams: an untrained encoder of the same seed has the weights that this encoder starts from.
        initialize_convolutions(self.encoder, generator=seeded(seed))
        initialize_convolutions(self.decoder, generator=seeded(seed + 1))

    @property
    def num_mask_tokens(self) -> int:
        """One number per patch."""
        return self.config.num_tokens

    def blocks(self) -> list[nn.Module]:
        """Stages and bottleneck of the encoder, then the stages of the decoder."""
        return [*self.encoder.stages, *self.encoder.blocks, *self.decoder.stages]

    @property
    def encoder_weights(self) -> MuNetPyramid:
        """The pyramid."""
        return self.encoder

    def encoder_config(
        self, *, channels: tuple[str, ...], intensity_scale: float, **facts: Any
    ) -> EncoderConfig:
        """The description of the encoder in it."""
        return mu_net_encoder_config(
            crop_size=self.config.crop_size,
            widths=self.config.widths,
            num_blocks=self.config.num_blocks,
            channels=channels,
            intensity_scale=intensity_scale,
            **facts,
        )

    def forward(self, crops_BCHW: Tensor, noise_BL: Tensor) -> MaskedPrediction:
        """Hide the patches of highest noise (they become zero, the mean of a standardized crop), restore all.

        Args:
            crops_BCHW: self-standardized crops.
            noise_BL: uniform noise of any float type; the patches of lowest noise are kept.
        """
        p, side = self.config.patch_size, self.config.crop_size // self.config.patch_size
        mask_BL = mask_patches(noise_BL, num_kept=self.config.num_kept).mask_BL
        grid_B11 = mask_BL.view(-1, 1, side, 1, side, 1)
        is_seen = (1 - grid_B11).expand(-1, -1, -1, p, -1, p).reshape(-1, 1, side * p, side * p)
        maps_BCHW, across = self.encoder(crops_BCHW * is_seen)
        restored_BCHW = self.decoder(maps_BCHW, across)
        target_BLP = patchify(crops_BCHW, patch_size=p)
        return MaskedPrediction(patchify(restored_BCHW, patch_size=p), target_BLP, mask_BL, p)
