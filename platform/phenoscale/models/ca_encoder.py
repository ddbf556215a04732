"""A vision transformer that reads any number of channels: every token is a patch of one. science.md 1.2, 1.7.

Shapes: B minibatch, C channels, H W pixels, N patches of one channel, L = C * N tokens (channel by channel),
K kept tokens, P = p * p pixels of a patch, D embedding.
"""

from typing import Any

from torch import Tensor

from phenoscale.models.vit import VisionTransformer, VisionTransformerConfig, patchify
from phenoscale.models.vit_encoder import VitEncoder, vit_encoder_config
from phenoscale.schema.encoders import EncoderConfig


class ChannelAgnosticTransformer(VisionTransformer):
    """One projection and one table of positions serve every channel; nothing tells channels apart.

    Its config has one channel, as one token has.
    """

    def cut(self, crops_BCHW: Tensor) -> Tensor:
        """The patches of all channels, channel by channel: [B, C * N, p * p]."""
        B, _, H, W = crops_BCHW.shape
        patches = patchify(crops_BCHW.reshape(-1, 1, H, W), patch_size=self.config.patch_size)
        return patches.reshape(B, -1, self.config.patch_dim)

    def patch_positions(self, kept_BK: Tensor | None, *, num_patches: int) -> Tensor:
        """The position of each given patch in its channel, or of all in order: [B, K, D] or [L, D]."""
        positions_ND = self.positions[1:]
        if kept_BK is not None:
            return positions_ND[kept_BK % self.config.num_tokens]
        return positions_ND.repeat(num_patches // self.config.num_tokens, 1)


class ChannelAgnosticEncoder(VitEncoder):
    """Reads crops of any channels in any order, up to `max_channels`, with the same weights.

    The mean over all patch tokens and the class token have one length whatever the channels; the means of the
    channels side by side are as many times longer as there are channels, in the order of the crop.
    """

    transformer = ChannelAgnosticTransformer

    @property
    def channel_counts(self) -> range:
        """How many channels crops may have."""
        assert self.config.max_channels is not None, "a channel-agnostic config says its most channels"
        return range(1, self.config.max_channels + 1)


def ca_encoder_config(vit: VisionTransformerConfig, *, max_channels: int, **facts: Any) -> EncoderConfig:
    """The encoder config of a channel-agnostic transformer; `facts` as for any transformer."""
    return vit_encoder_config(vit, architecture="channel_agnostic_vit", max_channels=max_channels, **facts)
