"""Attention with the quickest kernel for the processor it runs on, and self-attention of timm's blocks on it.

Shapes: B minibatch, L query tokens, M context tokens, D dimensions, N heads, K dimensions of a head.
"""

from typing import Any

from timm.layers.attention import Attention
from torch import Tensor, nn


def attend(q_BNLK: Tensor, k_BNMK: Tensor, v_BNMK: Tensor) -> Tensor:
    """softmax(q kᵀ / sqrt(K)) v with the heads side by side: [B, L, N * K].

    It runs fused (SDPA), except for bfloat16 on a CPU: there the fused kernel's backward pass takes four
    times as long as the two matrix products written out (65 tokens, torch 2.15).
    """
    if q_BNLK.device.type == "cpu" and v_BNMK.dtype.itemsize == 2:
        scaled_BNLK = q_BNLK * q_BNLK.shape[3] ** -0.5
        weights_BNLM = (scaled_BNLK @ k_BNMK.transpose(-2, -1)).softmax(dim=-1)
        attended_BNLK = weights_BNLM.to(v_BNMK.dtype) @ v_BNMK
    else:
        attended_BNLK = nn.functional.scaled_dot_product_attention(q_BNLK, k_BNMK, v_BNMK)
    return attended_BNLK.transpose(1, 2).flatten(2)


class TokenAttention(Attention):
    """timm's self-attention, weights included, over all tokens."""

    def forward(self, x: Tensor, *masks: Any, **options: Any) -> Tensor:
        """Attend over all tokens: [B, L, D] -> [B, L, D]; a mask is refused."""
        unwanted = [item for item in (*masks, *options.values()) if item is not None and item is not False]
        assert not unwanted, "the tokens of an image are neither masked nor ordered"
        B, L, _ = x.shape
        qkv_3BNLK = self.qkv(x).reshape(B, L, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        q, k, v = qkv_3BNLK.unbind(0)
        projected: Tensor = self.proj(attend(self.q_norm(q), self.k_norm(k), v))
        return projected
