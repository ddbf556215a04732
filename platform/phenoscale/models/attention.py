"""Self-attention of a transformer block: timm's, with the quickest kernel for the processor it runs on.

Shapes: B minibatch, L tokens, D dimensions, N heads, K dimensions of a head.
"""

from typing import Any

from timm.layers.attention import Attention
from torch import Tensor, nn


class TokenAttention(Attention):
    """timm's attention, weights included, over all tokens.

    It runs fused (SDPA), except for bfloat16 on a CPU: there the fused kernel's backward pass takes four
    times as long as the two matrix products written out (65 tokens, torch 2.15).
    """

    def forward(self, x: Tensor, *masks: Any, **options: Any) -> Tensor:
        """Attend over all tokens: [B, L, D] -> [B, L, D]; a mask is refused."""
        unwanted = [item for item in (*masks, *options.values()) if item is not None and item is not False]
        assert not unwanted, "the tokens of an image are neither masked nor ordered"
        B, L, _ = x.shape
        qkv_3BNLK = self.qkv(x).reshape(B, L, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        q, k, v = qkv_3BNLK.unbind(0)
        q, k = self.q_norm(q), self.k_norm(k)
        if q.device.type == "cpu" and v.dtype.itemsize == 2:
            weights_BNLL = ((q * self.scale) @ k.transpose(-2, -1)).softmax(dim=-1)
            attended = weights_BNLL.to(v.dtype) @ v
        else:
            attended = nn.functional.scaled_dot_product_attention(q, k, v)
        projected: Tensor = self.proj(attended.transpose(1, 2).reshape(B, L, -1))
        return projected
