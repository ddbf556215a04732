"""OpenPhenom's released weights as an encoder. science.md 1.2, 1.4, 1.7, 3, 11.1, 11.3; its model card.

The file holds a whole channel-agnostic masked autoencoder; only the encoder is kept. Three things about it
are easily got wrong, and are decided here. Its blocks were trained with the bias order of an old timm, and
are run with it. Its backbone was built with `global_pool="avg"`: timm then puts the final LayerNorm behind
the pooling, as `fc_norm`, where neither training nor the published `predict()` ever called it, so that the
tokens of the last block are pooled as they are. A file with a `norm` in its place was trained with it, and
has it applied. And the input is divided by 255 and standardized inside the encoder: images that were
normalized before lose contrast.

Shapes: D embedding, L patch tokens of a channel, p side of a patch.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from phenoscale.errors import UserError
from phenoscale.logs import get_logger, key_values
from phenoscale.models.ca_encoder import ChannelAgnosticEncoder, ca_encoder_config
from phenoscale.models.positions import sincos_positions
from phenoscale.models.vit import VisionTransformerConfig
from phenoscale.models.weights import load_weights

MAX_CHANNELS = 11  # as released: how often the position table is repeated
POSITION_TOLERANCE = 1e-4  # released tables were computed in float32 throughout
_BACKBONE = "encoder.vit_backbone."
_PROJECTION, _CLASS, _POSITIONS = "patch_embed.proj.weight", "cls_token", "pos_embed"
_HIDDEN, _HEAD = "blocks.0.mlp_bias", "blocks.0.q_norm.weight"
_NORM, _UNUSED_NORM = "norm.", "fc_norm."

logger = get_logger(__name__)


def import_openphenom(
    tensors: Mapping[str, Tensor],
    *,
    source: str,
    channels: tuple[str, ...],
    crop_size: int | None = None,
    **facts: Any,
) -> ChannelAgnosticEncoder:
    """The encoder in a released state dict.

    Args:
        tensors: names and values of the whole autoencoder, as published.
        source: the file, for messages.
        channels: stain names in the order of the images, 1 to 11 of any kind.
        crop_size: of the crops at hand, in pixels; None takes what the weights were trained on.
        facts: `intensity_scale`, `license`, and `pooling`: mean_patch_tokens (as the published
            `predict()` does), channel_means, or class_token.

    Raises:
        UserError: other weights, positions that are not the published ones, another crop size, or
            too many channels.
    """
    backbone = _backbone(tensors, source=source)
    vit = _transformer(backbone, source=source)
    if len(channels) > MAX_CHANNELS:
        raise UserError(
            f"{source} reads at most {MAX_CHANNELS} channels, got {len(channels)}; choose the stains that "
            "matter with --channels"
        )
    if crop_size not in (None, vit.crop_size):
        raise UserError(
            f"{source} was trained on crops of {vit.crop_size} px and its positions fit no other: got "
            f"crop_size {crop_size}; leave it out, and ingest images of which such crops can be cut"
        )
    config = ca_encoder_config(
        vit,
        max_channels=MAX_CHANNELS,
        channels=channels,
        apply_final_norm=f"{_NORM}weight" in backbone,
        is_trained=True,
        **facts,
    )
    encoder = ChannelAgnosticEncoder(config).eval()
    load_weights(encoder.weights, _renamed(backbone), source=source, expected=config.describe())
    return encoder


def _backbone(tensors: Mapping[str, Tensor], *, source: str) -> dict[str, Tensor]:
    found = {
        name.removeprefix(_BACKBONE): value for name, value in tensors.items() if name.startswith(_BACKBONE)
    }
    missing = [name for name in (_PROJECTION, _CLASS, _POSITIONS, _HIDDEN, _HEAD) if name not in found]
    if missing:
        raise UserError(
            f"{source} is no file of OpenPhenom: it has no {_BACKBONE}{missing[0]} (its names begin with "
            f"{', '.join(sorted({name.partition('.')[0] for name in tensors})[:5])}); give the "
            "model.safetensors of recursionpharma/OpenPhenom, or use --source timm for a plain ViT"
        )
    rest = sorted({name.partition(".")[0] for name in tensors if not name.startswith(_BACKBONE)})
    if rest:
        logger.info(key_values(left_out=", ".join(rest), file=source))
    return found


def _transformer(backbone: Mapping[str, Tensor], *, source: str) -> VisionTransformerConfig:
    """The architecture, read off the shapes."""
    dim, inputs, patch_size, _ = backbone[_PROJECTION].shape
    if inputs != 1:
        raise UserError(
            f"{source} holds an encoder of {inputs} fixed channels: its {_PROJECTION} has shape "
            f"{list(backbone[_PROJECTION].shape)}, OpenPhenom's projects one channel at a time; give "
            "OpenPhenom's file"
        )
    return VisionTransformerConfig(
        num_channels=1,
        crop_size=_grid_size(backbone[_POSITIONS], source=source) * patch_size,
        patch_size=patch_size,
        embedding_dim=dim,
        num_blocks=1 + max(int(name.split(".")[1]) for name in backbone if name.startswith("blocks.")),
        num_heads=dim // len(backbone[_HEAD]),
        mlp_ratio=len(backbone[_HIDDEN]) / dim,
        block="parallel",
        qk_norm=True,
        layer_scale_init=1e-4,
        legacy_bias_order=True,
    )


def _grid_size(positions: Tensor, *, source: str) -> int:
    """Tokens per side of a crop, if the stored table is the published one: that of one channel, repeated."""
    rows, dim = positions.shape[-2:]
    num_tokens, rest = divmod(rows - 1, MAX_CHANNELS)
    grid_size = math.isqrt(num_tokens)
    if rest or grid_size**2 != num_tokens or dim % 4:
        raise UserError(
            f"{source} has a position table of shape {list(positions.shape)}; OpenPhenom's has 1 + "
            f"{MAX_CHANNELS} times a square number of rows; give OpenPhenom's file"
        )
    table = sincos_positions(dim, grid_size=grid_size)
    expected = torch.cat([table[:1], table[1:].repeat(MAX_CHANNELS, 1)])
    largest = float((positions.reshape(rows, dim).float() - expected).abs().max())
    if largest > POSITION_TOLERANCE:
        raise UserError(
            f"{source} has positions that differ from the published sine-cosine table by up to "
            f"{largest:.3g}; such weights cannot be run here; give OpenPhenom's file as it was released"
        )
    return grid_size


def _renamed(backbone: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The backbone's tensors under our names; without a final norm one that is never applied."""
    kept = {
        name: value.float()
        for name, value in backbone.items()
        if name not in (_POSITIONS, _PROJECTION) and not name.startswith((_UNUSED_NORM, "patch_embed."))
    }
    kept["patch_projection.weight"] = backbone[_PROJECTION].float().flatten(1)
    if "patch_embed.proj.bias" in backbone:
        kept["patch_projection.bias"] = backbone["patch_embed.proj.bias"].float()
    if f"{_NORM}weight" not in backbone:
        dim = backbone[_CLASS].shape[-1]
        kept |= {f"{_NORM}weight": torch.ones(dim), f"{_NORM}bias": torch.zeros(dim)}
    return kept
