"""Attention with the quickest kernel for the processor it runs on, and self-attention of timm's blocks on it.

Shapes: B minibatch, L query tokens, M context tokens, D dimensions, N heads, K dimensions of a head.
"""

from typing import Any

import torch
from timm.layers.attention import Attention
from torch import Tensor, nn


def attend(queries_BLNK: Tensor, *, keys_BMNK: Tensor, values_BMNK: Tensor) -> Tensor:
    """softmax(q kᵀ / sqrt(K)) v per head, the heads side by side: [B, L, N * K].

    Queries, keys and values may be views into one projection, and stay where they are: the kernels take heads
    at any stride and leave their result in the order in which it is returned.

    It runs fused (SDPA), except for bfloat16 on a CPU: there the fused kernel's backward pass takes four
    times as long as the two matrix products written out (65 tokens, torch 2.15).
    """
    q, k, v = (heads.transpose(1, 2) for heads in (queries_BLNK, keys_BMNK, values_BMNK))
    if q.device.type == "cpu" and v.dtype.itemsize == 2:
        weights_BNLM = ((q * q.shape[3] ** -0.5) @ k.transpose(-2, -1)).softmax(dim=-1)
        attended_BNLK = weights_BNLM.to(v.dtype) @ v
    else:
        attended_BNLK = nn.functional.scaled_dot_product_attention(q, k, v)
    attended: Tensor = attended_BNLK.transpose(1, 2).flatten(2)
    return attended


class TokenAttention(Attention):
    """timm's self-attention, weights included, over all tokens."""

    def forward(self, x: Tensor, *masks: Any, **options: Any) -> Tensor:
        """Attend over all tokens: [B, L, D] -> [B, L, D]; a mask is refused."""
        unwanted = [item for item in (*masks, *options.values()) if item is not None and item is not False]
        assert not unwanted, "the tokens of an image are neither masked nor ordered"
        q, k, v = torch.unflatten(self.qkv(x), -1, (3, self.num_heads, self.head_dim)).unbind(2)
        attended = attend(self.q_norm(q), keys_BMNK=self.k_norm(k), values_BMNK=v)
        projected: Tensor = self.proj(attended)
        return projected
