"""The blocks of the transformers here: the parallel one of the published encoders, and timm's pre-norm one.

Dehghani et al. (2023), arXiv:2302.05442; science.md 1.2, 11.1. Shapes: B minibatch, L tokens, D dimensions,
N heads, K dimensions of a head, H hidden units of the MLP.
"""

from typing import Any

import torch
from timm.layers.layer_scale import LayerScale
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from phenoscale.models.attention import TokenAttention, attend


class TokenNorm(nn.LayerNorm):
    """LayerNorm over a token's dimensions with the epsilon of vision transformers."""

    def __init__(self, dim: int, **placement: Any) -> None:
        super().__init__(dim, eps=1e-6, **placement)


class StochasticDepth(nn.Module):
    """In training, leaves out a residual branch of random crops. Huang et al. (2016), arXiv:1603.09382.

    The rate that counts is a tensor. As a number, which differs from block to block, it would be a constant
    of the compiled block: each block would be compiled anew, and after eight of them torch gives up and runs
    the others uncompiled.
    """

    def __init__(self, drop_prob: float) -> None:
        super().__init__()
        self.drop_prob = drop_prob
        self.register_buffer("keep_prob", torch.tensor(1.0 - drop_prob), persistent=False)
        self.keep_prob: Tensor

    def forward(self, branch_BLD: Tensor) -> Tensor:
        """The branch, with that of random crops zero, and the others scaled up to the same mean."""
        if not self.training:
            return branch_BLD
        kept_B11 = torch.bernoulli(self.keep_prob.expand(branch_BLD.shape[0], 1, 1))
        return branch_BLD * (kept_B11 / self.keep_prob).to(branch_BLD.dtype)


def stochastic_depth(drop_prob: float) -> nn.Module:
    """Stochastic depth, or nothing where nothing is left out."""
    return StochasticDepth(drop_prob) if drop_prob > 0 else nn.Identity()


class StandardBlock(Block):
    """timm's pre-norm block with biases: attention, then MLP, each with its own norm and residual."""

    def __init__(self, dim: int, num_heads: int, *, drop_path: float = 0.0, **settings: Any) -> None:
        """Take timm's settings: mlp_ratio, qk_norm, init_values (of LayerScale)."""
        fixed: dict[str, Any] = {"qkv_bias": True, "norm_layer": TokenNorm, "attn_layer": TokenAttention}
        super().__init__(dim, num_heads, **settings, **fixed)
        self.add_module("drop_path1", stochastic_depth(drop_path))
        self.add_module("drop_path2", stochastic_depth(drop_path))


class ParallelBlock(nn.Module):
    """Attention and MLP side by side: one norm and one input projection in front, one residual behind.

    x + DropPath(gamma * (W_attn a + W_mlp gelu(m + b))), where [m | q | k | v] = W_in LN(x), queries and keys
    are normalized per head, and a is their attention. Parameters are named as in timm's ParallelScalingBlock.

    Old releases of that block put the zeros that stand for the q, k, v biases in front of the MLP bias b and
    not behind it (science.md 11.1), so that the end of b was added to q, k and v. Weights trained that way
    need `legacy_bias_order`; nothing else does.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        mlp_ratio: float = 4.0,
        qk_norm: bool = False,
        layer_scale_init: float | None = None,
        drop_path: float = 0.0,
        legacy_bias_order: bool = False,
    ) -> None:
        super().__init__()
        assert dim % num_heads == 0, f"{num_heads} heads do not divide {dim} dimensions"
        hidden_dim = round(mlp_ratio * dim)
        self.heads_shape = (3, num_heads, dim // num_heads)
        self.split_sizes = [hidden_dim, 3 * dim]
        self.legacy_bias_order = legacy_bias_order
        self.in_norm = TokenNorm(dim)
        self.in_proj = nn.Linear(dim, hidden_dim + 3 * dim, bias=False)
        self.mlp_bias = nn.Parameter(torch.zeros(hidden_dim))
        self.q_norm = TokenNorm(dim // num_heads) if qk_norm else nn.Identity()
        self.k_norm = TokenNorm(dim // num_heads) if qk_norm else nn.Identity()
        self.attn_out_proj = nn.Linear(dim, dim)
        self.mlp_out_proj = nn.Linear(hidden_dim, dim)
        self.ls = nn.Identity() if layer_scale_init is None else LayerScale(dim, layer_scale_init)
        self.drop_path = stochastic_depth(drop_path)

    def forward(self, tokens_BLD: Tensor) -> Tensor:
        """Tokens after the block: [B, L, D]."""
        # One weight, two products: split outputs would have to be joined again in the backward pass.
        normed_BLD = self.in_norm(tokens_BLD)
        hidden_weight, qkv_weight = torch.split(self.in_proj.weight, self.split_sizes)
        hidden_bias, qkv_bias = self._biases()
        hidden_BLH = nn.functional.linear(normed_BLD, hidden_weight, hidden_bias)
        qkv = nn.functional.linear(normed_BLD, qkv_weight, qkv_bias)
        q, k, v = torch.unflatten(qkv, -1, self.heads_shape).unbind(2)  # views of [B, L, N, K]
        attended_BLD = attend(self.q_norm(q), keys_BMNK=self.k_norm(k), values_BMNK=v)
        both_BLD = self.attn_out_proj(attended_BLD) + self.mlp_out_proj(nn.functional.gelu(hidden_BLH))
        updated: Tensor = tokens_BLD + self.drop_path(self.ls(both_BLD))
        return updated

    def _biases(self) -> tuple[Tensor, Tensor | None]:
        """The biases of the hidden units and of q, k, v."""
        if not self.legacy_bias_order:
            return self.mlp_bias, None
        shifted = nn.functional.pad(self.mlp_bias, (self.split_sizes[1], 0))
        hidden_bias, qkv_bias = torch.split(shifted, self.split_sizes)
        return hidden_bias, qkv_bias
