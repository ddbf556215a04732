"""A vision transformer read out at its blocks: mean of the patch tokens, or class token. science.md 1.7.

Shapes: B minibatch, C channels, H W pixels, L patch tokens, D embedding.
"""

import dataclasses
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from phenoscale.models.readout import BlockReader
from phenoscale.models.vit import VisionTransformer, VisionTransformerConfig, initialize
from phenoscale.schema.encoders import EncoderConfig


class VitEncoder(BlockReader):
    """A vision transformer; the class token has no part in the mean of the patch tokens."""

    transformer: type[VisionTransformer] = VisionTransformer

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.vit = self.transformer(vit_config(config))

    @property
    def weights(self) -> VisionTransformer:
        """The transformer."""
        return self.vit

    def initialize(self, generator: torch.Generator) -> None:
        """Draw untrained weights: those from which training with the same seed starts."""
        initialize(self.vit, generator=generator)

    def read_blocks(self, crops_BCHW: Tensor, *, first: int) -> Iterator[Tensor]:
        """The pooled tokens after each block from `first` on: [B, D]."""
        for tokens_BLD in islice(self.vit.tokens_by_block(crops_BCHW), first, None):
            normed_BLD = self.vit.norm(tokens_BLD) if self.config.apply_final_norm else tokens_BLD
            yield pool_tokens(normed_BLD, pooling=self.config.pooling, num_channels=crops_BCHW.shape[1])


def pool_tokens(tokens_BLD: Tensor, *, pooling: str, num_channels: int) -> Tensor:
    """One vector per crop out of its tokens, the class token first: [B, D], float32.

    `channel_means` is for tokens of single channels: the means of each channel side by side, [B, C * D].
    """
    if pooling == "class_token":
        return tokens_BLD[:, 0].float()
    patches_BLD = tokens_BLD[:, 1:].float()
    if pooling == "channel_means":
        return torch.unflatten(patches_BLD, 1, (num_channels, -1)).mean(dim=2).flatten(1)
    assert pooling == "mean_patch_tokens", f"tokens are not pooled by {pooling}"
    return patches_BLD.mean(dim=1)


def vit_config(config: EncoderConfig) -> VisionTransformerConfig:
    """The transformer that an encoder config describes; a channel-agnostic one reads single channels."""
    num_parts = len(config.channels) if config.pooling == "channel_means" else 1
    return VisionTransformerConfig(
        num_channels=1 if config.architecture == "channel_agnostic_vit" else len(config.channels),
        crop_size=config.crop_size,
        patch_size=config.patch_size,
        embedding_dim=config.embedding_dim // num_parts,
        num_blocks=config.num_blocks,
        num_heads=config.num_heads,
        mlp_ratio=config.mlp_ratio,
        block=config.block_style,
        qk_norm=config.qk_norm,
        layer_scale_init=config.layer_scale_init,
        legacy_bias_order=config.legacy_bias_order,
    )


def vit_encoder_config(vit: VisionTransformerConfig, **facts: Any) -> EncoderConfig:
    """The encoder config of a transformer.

    Args:
        vit: the transformer; its stochastic depth is a matter of training and left out.
        facts: `channels`, `intensity_scale`, and whatever else is known: seed, num_training_crops, pooling.
    """
    num_parts = len(facts["channels"]) if facts.get("pooling") == "channel_means" else 1
    settings = {
        "architecture": "vit",
        "crop_size": vit.crop_size,
        "patch_size": vit.patch_size,
        "embedding_dim": vit.embedding_dim * num_parts,
        "num_blocks": vit.num_blocks,
        "num_heads": vit.num_heads,
        "mlp_ratio": vit.mlp_ratio,
        "block_style": vit.block,
        "qk_norm": vit.qk_norm,
        "layer_scale_init": vit.layer_scale_init,
        "legacy_bias_order": vit.legacy_bias_order,
    }
    config = EncoderConfig(**{**settings, **facts})
    rebuilt = dataclasses.replace(vit_config(config), drop_path_rate=vit.drop_path_rate)
    assert rebuilt == vit, f"config {rebuilt} does not describe this transformer, {vit}"
    return config
