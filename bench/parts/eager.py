"""The reference: the same model as one would write it with timm, in plain eager autocast.

Every block of ours becomes timm's own of the same weights, attention is torch's fused one, nothing is
compiled and nothing copied ahead. Preprocessing, loss and optimizer are the same: only the paths differ.
"""

from __future__ import annotations

from typing import Any

from timm.models.vision_transformer import Block, ParallelScalingBlock
from torch import nn

from phenoscale.models.blocks import ParallelBlock, StandardBlock, TokenNorm


def as_timm_blocks(model: nn.Module) -> nn.Module:
    """Replace the blocks in all lists of blocks of a model, in place, and return it."""
    for stack in [module for module in model.modules() if isinstance(module, nn.ModuleList)]:
        for place, block in enumerate(stack):
            if isinstance(block, ParallelBlock | StandardBlock):
                stack[place] = _timm_block(block)
    return model


def _timm_block(block: ParallelBlock | StandardBlock) -> nn.Module:
    twin = _parallel(block) if isinstance(block, ParallelBlock) else _standard(block)
    twin.load_state_dict(block.state_dict())
    first = next(block.parameters())
    return twin.to(first.device).train(block.training)


def _parallel(block: ParallelBlock) -> nn.Module:
    num_heads = block.heads_shape[1]
    dim = block.heads_shape[1] * block.heads_shape[2]
    return ParallelScalingBlock(
        dim,
        num_heads,
        mlp_ratio=block.split_sizes[0] / dim,
        qkv_bias=False,
        qk_norm=not isinstance(block.q_norm, nn.Identity),
        init_values=_layer_scale(block.ls),
        drop_path=_drop_rate(block.drop_path),
        norm_layer=TokenNorm,
    )


def _standard(block: StandardBlock) -> nn.Module:
    hidden, dim = block.mlp.fc1.weight.shape
    return Block(
        dim,
        block.attn.num_heads,
        mlp_ratio=hidden / dim,
        qkv_bias=True,
        qk_norm=not isinstance(block.attn.q_norm, nn.Identity),
        init_values=_layer_scale(block.ls1),
        drop_path=_drop_rate(block.drop_path1),
        norm_layer=TokenNorm,
    )


def _layer_scale(module: nn.Module) -> float | None:
    return None if isinstance(module, nn.Identity) else 1.0  # the value comes with the weights


def _drop_rate(module: Any) -> float:
    return float(getattr(module, "drop_prob", 0.0) or 0.0)
