"""Weights as others publish them, with random values: OpenPhenom's whole autoencoder, a timm model."""

import torch
from timm.models.vision_transformer import ParallelScalingBlock, VisionTransformer

from phenoscale.models.positions import sincos_positions

MAX_CHANNELS = 11


def released_backbone(*, dim=16, num_blocks=3, heads=2, patch_size=4, grid_size=3, qkv_bias=False, **changes):
    """The backbone as maes_microscopy builds it: timm's, pooled by `avg`, with the parallel block."""
    settings = {"global_pool": "avg", "fc_norm": None, "init_values": 1e-4, "qk_norm": True, **changes}
    return VisionTransformer(
        img_size=patch_size * grid_size,
        patch_size=patch_size,
        in_chans=1,
        num_classes=0,
        embed_dim=dim,
        depth=num_blocks,
        num_heads=heads,
        block_fn=ParallelScalingBlock,
        qkv_bias=qkv_bias,
        **settings,
    )


def openphenom_tensors(*, seed=0, dim=16, grid_size=3, **changes):
    """A state dict in the released layout; gains and LayerScale are near 1, so that every block matters."""
    backbone = released_backbone(dim=dim, grid_size=grid_size, **changes)
    generator = torch.Generator().manual_seed(seed)
    table = sincos_positions(dim, grid_size=grid_size)
    tensors = {}
    for name, value in backbone.state_dict().items():
        is_gain = name.endswith(("norm.weight", "gamma"))
        drawn = torch.randn(value.shape, generator=generator) * 0.3 + (1.0 if is_gain else 0.0)
        tensors[f"encoder.vit_backbone.{name}"] = drawn
    tensors["encoder.vit_backbone.pos_embed"] = torch.cat([table[:1], table[1:].repeat(MAX_CHANNELS, 1)])[
        None
    ]
    for name in ("decoder.mask_token", "decoder.pos_embeddings", "encoder_decoder_proj.weight"):
        tensors[name] = torch.randn(1, 2, 3, generator=generator)
    return tensors
