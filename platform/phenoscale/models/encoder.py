"""Encoders as the pipeline uses them: raw crops in, one embedding per block out; on disk without pickles.

Shapes: B minibatch, C channels, H W pixels, L patch tokens, D embedding, N readable blocks.
"""

import dataclasses
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from phenoscale.errors import UserError
from phenoscale.models.card import write_card
from phenoscale.models.pixel_statistics import PixelStatistics
from phenoscale.models.preprocess import standardize
from phenoscale.models.vit import VisionTransformer, VisionTransformerConfig, initialize, seeded
from phenoscale.models.weights import load_weights, read_weights, write_weights
from phenoscale.schema.encoders import (
    WEIGHTS_FILE,
    EncoderConfig,
    Precision,
    encoder_folder,
    read_encoder_config,
    write_encoder_config,
)

CPU_CROPS = 64  # crops at once on a CPU: their tokens stay in its cache, which is a sixth to a third quicker


class Encoder(Protocol):
    """What every encoder can do, the baselines included."""

    config: EncoderConfig

    @property
    def num_blocks(self) -> int:
        """Readable blocks, 0-based from the input."""

    def embed_blocks(self, crops_BCHW: Tensor) -> Tensor:
        """Every block's embedding of raw crops in one forward pass: [N, B, D], float32."""

    def embed(self, crops_BCHW: Tensor) -> Tensor:
        """Embeddings of raw crops at the chosen block: [B, D], float32."""

    def state_dict(self) -> dict[str, Any]:
        """Weights by name."""

    def to(self, device: Any) -> Self:
        """The encoder on another device."""


class VitEncoder(nn.Module):
    """A vision transformer read out at its blocks: the mean of the patch tokens, class token aside.

    Takes raw intensities of any integer or float type; scaling and self-standardization happen inside, on the
    device. Every crop is embedded on its own: its companions in the minibatch have no say.
    """

    def __init__(self, vit: VisionTransformer, config: EncoderConfig) -> None:
        super().__init__()
        self.vit = vit
        self.config = config

    @property
    def num_blocks(self) -> int:
        """Blocks that were kept; each can be read."""
        return self.config.num_blocks

    @torch.no_grad()
    def embed_blocks(self, crops_BCHW: Tensor) -> Tensor:
        """Every block's embedding of raw crops in one forward pass: [N, B, D], float32."""
        return self._read(crops_BCHW, first=0, last=self.num_blocks - 1)

    @torch.no_grad()
    def embed(self, crops_BCHW: Tensor) -> Tensor:
        """Embeddings of raw crops at the chosen block: [B, D], float32; later blocks are not computed."""
        chosen = self.config.chosen_block
        return self._read(crops_BCHW, first=chosen, last=chosen)[0]

    def _read(self, crops_BCHW: Tensor, *, first: int, last: int) -> Tensor:
        self._check(crops_BCHW)
        device = self.vit.positions.device
        pieces = torch.split(crops_BCHW, CPU_CROPS) if device.type == "cpu" else (crops_BCHW,)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.config.precision == "bf16"):
            read = [self._read_piece(piece.to(device), first=first, last=last) for piece in pieces]
        return torch.cat(read, dim=1)

    def _read_piece(self, crops_BCHW: Tensor, *, first: int, last: int) -> Tensor:
        blocks = self.vit.tokens_by_block(self._prepare(crops_BCHW))
        return torch.stack([self._pool(tokens) for tokens in islice(blocks, first, last + 1)])

    def _prepare(self, crops_BCHW: Tensor) -> Tensor:
        if self.config.standardize:
            return standardize(crops_BCHW, intensity_scale=self.config.intensity_scale)
        return crops_BCHW.float() / self.config.intensity_scale

    def _pool(self, tokens_BLD: Tensor) -> Tensor:
        if self.config.apply_final_norm:
            tokens_BLD = self.vit.norm(tokens_BLD)
        return tokens_BLD[:, 1:].float().mean(dim=1)

    def _check(self, crops_BCHW: Tensor) -> None:
        config = self.config
        expected = (len(config.channels), config.crop_size, config.crop_size)
        if crops_BCHW.ndim != 4 or tuple(crops_BCHW.shape[1:]) != expected:
            raise UserError(
                f"crops of shape {list(crops_BCHW.shape)} do not fit this encoder, which reads [B, "
                f"{', '.join(map(str, expected))}]: {config.describe()}; crop to {config.crop_size} px and "
                "give its channels in its order"
            )


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


def encoder_config(
    vit: VisionTransformerConfig,
    *,
    channels: tuple[str, ...],
    intensity_scale: float,
    precision: Precision = "fp32",
    **facts: Any,
) -> EncoderConfig:
    """The encoder config of a transformer; `facts` are further fields, such as seed or num_training_crops."""
    return EncoderConfig(
        architecture="vit",
        channels=channels,
        crop_size=vit.crop_size,
        patch_size=vit.patch_size,
        embedding_dim=vit.embedding_dim,
        num_blocks=vit.num_blocks,
        num_heads=vit.num_heads,
        mlp_ratio=vit.mlp_ratio,
        block_style=vit.block,
        qk_norm=vit.qk_norm,
        layer_scale_init=vit.layer_scale_init,
        intensity_scale=intensity_scale,
        precision=precision,
        **facts,
    )


def build_encoder(vit: VisionTransformer, config: EncoderConfig) -> VitEncoder:
    """An encoder around a trained transformer, which it shares; it is set to evaluation."""
    expected = dataclasses.replace(vit_config(config), drop_path_rate=vit.config.drop_path_rate)
    assert expected == vit.config, f"config {expected} does not describe this transformer, {vit.config}"
    return VitEncoder(vit, config).eval()


def untrained_encoder(config: EncoderConfig) -> Encoder:
    """A fresh encoder with weights drawn from `config.seed`: the control for every claim about training."""
    fresh = dataclasses.replace(config, is_trained=False, num_training_crops=0)
    if config.architecture == "pixel_statistics":
        return PixelStatistics(fresh)
    vit = VisionTransformer(vit_config(fresh))
    initialize(vit, generator=seeded(fresh.seed))
    return build_encoder(vit, fresh)


def trim_encoder(encoder: Encoder, block: int) -> Encoder:
    """The encoder without the blocks after `block`, which becomes its chosen one; embeddings stay bit-equal.

    Raises:
        UserError: there is no such block.
    """
    config = encoder.config
    if not 0 <= block < config.num_blocks:
        raise UserError(
            f"block {block} does not exist: this encoder has blocks 0 to {config.num_blocks - 1}; "
            "choose one of them"
        )
    if isinstance(encoder, PixelStatistics):
        return encoder
    assert isinstance(encoder, VitEncoder), f"unknown kind of encoder: {type(encoder)}"
    trimmed = dataclasses.replace(
        config, num_blocks=block + 1, block=block, trimmed_from=config.trimmed_from or config.num_blocks
    )
    vit = VisionTransformer(vit_config(trimmed)).to(encoder.vit.positions.device)
    kept = {name: value for name, value in encoder.vit.state_dict().items() if name in vit.state_dict()}
    vit.load_state_dict(kept)
    return build_encoder(vit, trimmed)


def save_encoder(folder: str | Path, encoder: Encoder) -> Path:
    """Write encoder.safetensors, config.json and card.md into a folder and return it."""
    assert isinstance(encoder, (VitEncoder, PixelStatistics)), f"unknown kind of encoder: {type(encoder)}"
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    weights = encoder.vit if isinstance(encoder, VitEncoder) else encoder
    write_weights(place / WEIGHTS_FILE, weights)
    write_encoder_config(place, encoder.config)
    write_card(place, encoder.config, num_parameters=sum(p.numel() for p in weights.parameters()))
    return place


def load_encoder(folder: str | Path, *, device: str | torch.device = "cpu") -> Encoder:
    """Load an encoder folder, or the `encoder` folder inside a stage's output; needs no network and no GPU.

    Raises:
        UserError: no encoder there, or weights that do not fit the config.
    """
    place = encoder_folder(folder)
    config = read_encoder_config(place)
    tensors = read_weights(place / WEIGHTS_FILE)
    if config.architecture == "pixel_statistics":
        return PixelStatistics(config).to(device)
    vit = VisionTransformer(vit_config(config))
    load_weights(vit, tensors, source=str(place / WEIGHTS_FILE), expected=config.describe())
    return build_encoder(vit, config).to(device)
