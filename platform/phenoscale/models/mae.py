"""Masked autoencoder: encode a quarter of the patches, reconstruct the rest. science.md 1.3, 1.4.

Shapes: B minibatch, C channels, H W pixels, L patch tokens, K kept tokens, P = C * p * p pixels of a patch
(channel-major), D dimensions of the decoder.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from phenoscale.errors import UserError
from phenoscale.models.blocks import StandardBlock, TokenNorm
from phenoscale.models.objectives import MaskedPrediction, TrainingModel
from phenoscale.models.positions import sincos_positions
from phenoscale.models.vit import (
    VisionTransformer,
    VisionTransformerConfig,
    check_width,
    initialize,
    patchify,
    seeded,
)
from phenoscale.models.vit_encoder import vit_encoder_config
from phenoscale.schema.encoders import BlockStyle, EncoderConfig

PUBLISHED_BLOCK: dict[str, Any] = {"block": "parallel", "qk_norm": True, "layer_scale_init": 1e-4}
_S = {"embedding_dim": 384, "num_blocks": 12, "num_heads": 6, "drop_path_rate": 0.1, **PUBLISHED_BLOCK}
_B = {"embedding_dim": 768, "num_blocks": 12, "num_heads": 12, "drop_path_rate": 0.1, **PUBLISHED_BLOCK}
_L = {"embedding_dim": 1024, "num_blocks": 24, "num_heads": 16, "drop_path_rate": 0.3, **PUBLISHED_BLOCK}
_G = {"embedding_dim": 1664, "num_blocks": 48, "num_heads": 16, "drop_path_rate": 0.6, **PUBLISHED_BLOCK}
_SMALL_DECODER = {"decoder_dim": 128, "decoder_blocks": 2, "decoder_heads": 4}
_TINY_DECODER = {"decoder_dim": 32, "decoder_blocks": 1, "decoder_heads": 2}
_SMALL = {"embedding_dim": 192, "num_blocks": 6, "num_heads": 3, **_SMALL_DECODER}
_TINY = {"embedding_dim": 48, "num_blocks": 2, "num_heads": 2, **_TINY_DECODER}

# Every named size: what MaskedAutoencoderConfig needs besides the number of channels. The published sizes
# have the published block and decoder; LayerScale of 1e-4 does not train within a few thousand steps, so the
# two sizes made for a laptop are standard pre-norm.
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"crop_size": 64, "patch_size": 8, **_TINY},
    "small": {"crop_size": 64, "patch_size": 8, **_SMALL},
    "S/16": {"crop_size": 256, "patch_size": 16, **_S},
    "S/8": {"crop_size": 256, "patch_size": 8, **_S},
    "B/16": {"crop_size": 256, "patch_size": 16, **_B},
    "B/8": {"crop_size": 256, "patch_size": 8, **_B},
    "L/16": {"crop_size": 256, "patch_size": 16, **_L},
    "L/8": {"crop_size": 256, "patch_size": 8, **_L},
    "G/8": {"crop_size": 256, "patch_size": 8, "mlp_ratio": 64 / 13, **_G},
}


@dataclass(frozen=True, kw_only=True)
class MaskedAutoencoderConfig:
    """Encoder, decoder and mask of a masked autoencoder; the decoder's defaults are the published ones."""

    num_channels: int
    crop_size: int
    patch_size: int
    embedding_dim: int
    num_blocks: int
    num_heads: int
    mlp_ratio: float = 4.0
    decoder_dim: int = 512
    decoder_blocks: int = 8
    decoder_heads: int = 16
    mask_ratio: float = 0.75
    drop_path_rate: float = 0.0
    qk_norm: bool = False
    layer_scale_init: float | None = None
    block: BlockStyle = "standard"

    def __post_init__(self) -> None:
        check_width(self.decoder_dim, num_heads=self.decoder_heads, name="decoder_dim")
        if not 0 < self.num_kept < self.num_tokens:
            raise UserError(
                f"mask_ratio {self.mask_ratio} keeps {self.num_kept} of {self.num_tokens} "
                "patches: at least one must be kept and one removed; choose a mask_ratio near .75"
            )

    @property
    def channels_per_token(self) -> int:
        """Channels in one patch."""
        return self.num_channels

    @property
    def encoder(self) -> VisionTransformerConfig:
        """The part that describes the encoder."""
        return VisionTransformerConfig(
            num_channels=self.channels_per_token,
            crop_size=self.crop_size,
            patch_size=self.patch_size,
            embedding_dim=self.embedding_dim,
            num_blocks=self.num_blocks,
            num_heads=self.num_heads,
            mlp_ratio=self.mlp_ratio,
            block=self.block,
            qk_norm=self.qk_norm,
            layer_scale_init=self.layer_scale_init,
            drop_path_rate=self.drop_path_rate,
        )

    @property
    def num_tokens(self) -> int:
        """Patch tokens of one crop: the width of the mask noise."""
        return self.encoder.num_tokens

    @property
    def num_kept(self) -> int:
        """Patch tokens that go through the encoder."""
        return int(self.num_tokens * (1 - self.mask_ratio))


class PatchMask(NamedTuple):
    """Which patches are kept, and how to put all of them back in order.

    Attributes:
        kept_BK: positions of the kept patches, in the order of their noise.
        restore_BL: for each position its rank in the noise (the first K ranks are the kept ones).
        mask_BL: float, 1 where a patch is removed.
    """

    kept_BK: Tensor
    restore_BL: Tensor
    mask_BL: Tensor


def mask_patches(noise_BL: Tensor, *, num_kept: int) -> PatchMask:
    """Keep the patches of lowest noise."""
    order_BL = torch.argsort(noise_BL, dim=1, stable=True)
    ranks_BL = torch.arange(noise_BL.shape[1], device=noise_BL.device).expand_as(order_BL)
    restore_BL = torch.empty_like(order_BL).scatter_(1, order_BL, ranks_BL)  # inverse, without a second sort
    return PatchMask(order_BL[:, :num_kept], restore_BL, (restore_BL >= num_kept).float())


def encode_kept(encoder: VisionTransformer, patches_BLP: Tensor, *, mask: PatchMask) -> Tensor:
    """The tokens of the kept patches after the encoder, the class token first: [B, 1 + K, D]."""
    kept = mask.kept_BK[:, :, None].expand(-1, -1, patches_BLP.shape[2])
    encoded: Tensor = encoder(patches_BLP.gather(1, kept), mask.kept_BK)
    return encoded


def fill_in(encoded_BKD: Tensor, *, mask_token: Tensor, restore_BL: Tensor) -> Tensor:
    """The class token, then all patches in order, the mask token where one was removed: [B, 1 + L, D]."""
    batch, num_encoded, dim = encoded_BKD.shape
    num_removed = restore_BL.shape[1] - (num_encoded - 1)
    removed = mask_token.to(encoded_BKD.dtype).expand(batch, num_removed, dim)
    by_rank_BLD = torch.cat([encoded_BKD[:, 1:], removed], dim=1)
    in_order_BLD = by_rank_BLD.gather(1, restore_BL[:, :, None].expand(-1, -1, dim))
    return torch.cat([encoded_BKD[:, :1], in_order_BLD], dim=1)


class Decoder(nn.Module):
    """Reconstructs all patches from the tokens of the kept ones."""

    def __init__(self, config: MaskedAutoencoderConfig) -> None:
        super().__init__()
        dim = config.decoder_dim
        with torch.random.fork_rng(devices=[]):
            self.projection = nn.Linear(config.embedding_dim, dim)
            self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
            self.blocks = nn.ModuleList(
                StandardBlock(dim, config.decoder_heads) for _ in range(config.decoder_blocks)
            )
            self.norm = TokenNorm(dim)
            self.head = nn.Linear(dim, config.encoder.patch_dim)
        positions = sincos_positions(dim, grid_size=config.encoder.grid_size)
        self.register_buffer("positions", positions, persistent=False)
        self.positions: Tensor

    def forward(self, encoded_BKD: Tensor, restore_BL: Tensor) -> Tensor:
        """Pixels of every patch: [B, L, P]. `encoded_BKD` has the class token first."""
        all_BLD = fill_in(self.projection(encoded_BKD), mask_token=self.mask_token, restore_BL=restore_BL)
        tokens = all_BLD + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        prediction_BLP: Tensor = self.head(self.norm(tokens[:, 1:]))
        return prediction_BLP


class TransformerAutoencoder(TrainingModel):
    """A transformer and the decoder that trains it; all weights follow from `seed`."""

    config: MaskedAutoencoderConfig
    encoder: nn.Module
    decoder: nn.Module

    def __init__(
        self, config: MaskedAutoencoderConfig, *, encoder: nn.Module, decoder: nn.Module, seed: int
    ) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.decoder = decoder
        # Two streams: an untrained encoder of the same seed has the weights that this encoder starts from.
        initialize(self.encoder, generator=seeded(seed))
        initialize(self.decoder, generator=seeded(seed + 1))

    @property
    def num_mask_tokens(self) -> int:
        """One number per token: a patch, or a patch of one channel."""
        return self.config.num_tokens

    @property
    def encoder_weights(self) -> nn.Module:
        """The transformer."""
        return self.encoder


class MaskedAutoencoder(TransformerAutoencoder):
    """A ViT encoder and the decoder that trains it."""

    config: MaskedAutoencoderConfig
    encoder: VisionTransformer
    decoder: Decoder

    def __init__(self, config: MaskedAutoencoderConfig, *, seed: int = 0) -> None:
        encoder, decoder = VisionTransformer(config.encoder), Decoder(config)
        super().__init__(config, encoder=encoder, decoder=decoder, seed=seed)

    def blocks(self) -> list[nn.Module]:
        """The blocks of the encoder, then those of the decoder."""
        return [*self.encoder.blocks, *self.decoder.blocks]

    def encoder_config(
        self, *, channels: tuple[str, ...], intensity_scale: float, **facts: Any
    ) -> EncoderConfig:
        """The description of the encoder in it."""
        return vit_encoder_config(
            self.config.encoder, channels=channels, intensity_scale=intensity_scale, **facts
        )

    def forward(self, crops_BCHW: Tensor, noise_BL: Tensor) -> MaskedPrediction:
        """Mask, encode the kept patches, reconstruct all.

        Args:
            crops_BCHW: self-standardized crops.
            noise_BL: uniform noise of any float type; the patches of lowest noise are kept.
        """
        patches_BLP = patchify(crops_BCHW, patch_size=self.config.patch_size)
        masked = mask_patches(noise_BL, num_kept=self.config.num_kept)
        encoded = encode_kept(self.encoder, patches_BLP, mask=masked)
        prediction_BLP = self.decoder(encoded, masked.restore_BL)
        return MaskedPrediction(prediction_BLP, patches_BLP, masked.mask_BL, self.config.patch_size)
