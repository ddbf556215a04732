"""A vision transformer read out at its blocks: mean of the patch tokens, or class token. science.md 1.7.

Shapes: B minibatch, C channels, H W pixels, L patch tokens, D embedding.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from phenoscale.models.readout import BlockReader
from phenoscale.models.vit import VisionTransformer, VisionTransformerConfig, initialize
from phenoscale.schema.encoders import EncoderConfig


class VitEncoder(BlockReader):
    """A vision transformer; the class token has no part in the mean of the patch tokens."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.vit = VisionTransformer(vit_config(config))

    @property
    def weights(self) -> VisionTransformer:
        """The transformer."""
        return self.vit

    def initialize(self, generator: torch.Generator) -> None:
        """Draw untrained weights: those from which training with the same seed starts."""
        initialize(self.vit, generator=generator)

    def read_blocks(self, crops_BCHW: Tensor) -> Iterator[Tensor]:
        """The pooled tokens after each block: [B, D]."""
        for tokens_BLD in self.vit.tokens_by_block(crops_BCHW):
            normed_BLD = self.vit.norm(tokens_BLD) if self.config.apply_final_norm else tokens_BLD
            yield pool_tokens(normed_BLD, pooling=self.config.pooling)


def pool_tokens(tokens_BLD: Tensor, *, pooling: str) -> Tensor:
    """One vector per crop out of its tokens, the class token first: [B, D], float32."""
    if pooling == "class_token":
        return tokens_BLD[:, 0].float()
    assert pooling == "mean_patch_tokens", f"tokens are not pooled by {pooling}"
    return tokens_BLD[:, 1:].float().mean(dim=1)


def vit_config(config: EncoderConfig) -> VisionTransformerConfig:
    """The transformer that an encoder config describes."""
    return VisionTransformerConfig(
        num_channels=len(config.channels),
        crop_size=config.crop_size,
        patch_size=config.patch_size,
        embedding_dim=config.embedding_dim,
        num_blocks=config.num_blocks,
        num_heads=config.num_heads,
        mlp_ratio=config.mlp_ratio,
        block=config.block_style,
        qk_norm=config.qk_norm,
        layer_scale_init=config.layer_scale_init,
    )


def vit_encoder_config(vit: VisionTransformerConfig, **facts: Any) -> EncoderConfig:
    """The encoder config of a transformer.

    Args:
        vit: the transformer; its stochastic depth is a matter of training and left out.
        facts: `channels`, `intensity_scale`, and whatever else is known: seed, num_training_crops, pooling.
    """
    settings = {
        "crop_size": vit.crop_size,
        "patch_size": vit.patch_size,
        "embedding_dim": vit.embedding_dim,
        "num_blocks": vit.num_blocks,
        "num_heads": vit.num_heads,
        "mlp_ratio": vit.mlp_ratio,
        "block_style": vit.block,
        "qk_norm": vit.qk_norm,
        "layer_scale_init": vit.layer_scale_init,
    }
    config = EncoderConfig(architecture="vit", **{**settings, **facts})
    rebuilt = dataclasses.replace(vit_config(config), drop_path_rate=vit.drop_path_rate)
    assert rebuilt == vit, f"config {rebuilt} does not describe this transformer, {vit}"
    return config
