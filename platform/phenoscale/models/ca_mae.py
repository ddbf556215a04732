"""Channel-agnostic masked autoencoder: tokens of single channels, a decoder each. science.md 1.2-1.4, 11.3.

Bachmann et al. (2022), arXiv:2204.01678 (the decoder); Kraus et al. (2024). Shapes: B minibatch, C channels,
H W pixels, N patches of one channel, L = C * N tokens (channel by channel), K kept tokens, P = p * p pixels
of a patch, D dimensions of the decoder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import torch
from timm.layers.mlp import Mlp
from torch import Tensor, nn

from phenoscale.errors import UserError
from phenoscale.models.attention import attend
from phenoscale.models.blocks import StandardBlock, TokenNorm
from phenoscale.models.ca_encoder import ChannelAgnosticTransformer, ca_encoder_config
from phenoscale.models.mae import SIZES as MAE_SIZES
from phenoscale.models.mae import (
    MaskedAutoencoderConfig,
    TransformerAutoencoder,
    encode_kept,
    fill_in,
    mask_patches,
)
from phenoscale.models.objectives import MaskedPrediction
from phenoscale.models.positions import sincos_positions
from phenoscale.models.vit import check_width
from phenoscale.schema.encoders import EncoderConfig

CROSS_HEADS = 8

# Every named size: what ChannelAgnosticMaeConfig needs besides the number of channels. `openphenom` is the
# released model: S/16 with a wider and deeper decoder.
SIZES: dict[str, dict[str, Any]] = {
    "tiny": MAE_SIZES["tiny"],
    "small": MAE_SIZES["small"],
    "S/16": MAE_SIZES["S/16"],
    "B/16": MAE_SIZES["B/16"],
    "L/16": {**MAE_SIZES["L/16"], "mask_ratio": 0.85},
    "openphenom": {**MAE_SIZES["S/16"], "decoder_dim": 512, "decoder_blocks": 8},
}


@dataclass(frozen=True, kw_only=True)
class ChannelAgnosticMaeConfig(MaskedAutoencoderConfig):
    """Encoder, decoder and mask of a channel-agnostic autoencoder; the decoder's defaults are Phenom-Beta's.

    Attributes:
        num_channels: channels of the training crops, each with a decoder of its own.
        decoder_blocks: blocks of the decoder of one channel.
        max_channels: the most channels that the encoder reads.
    """

    decoder_dim: int = 256
    decoder_blocks: int = 4
    decoder_heads: int = 16
    max_channels: int = 11

    def __post_init__(self) -> None:
        super().__post_init__()
        check_width(self.decoder_dim, num_heads=CROSS_HEADS, name="decoder_dim")
        if self.num_channels > self.max_channels:
            raise UserError(
                f"crops of {self.num_channels} channels are more than max_channels, {self.max_channels}; "
                "raise max_channels or leave channels out"
            )
        if not 0 < self.kept_of(1) < self.encoder.num_tokens:
            raise UserError(
                f"mask_ratio {self.mask_ratio} keeps {self.kept_of(1)} of {self.encoder.num_tokens} patches "
                "of a crop of one channel: at least one must be kept and one removed; choose a mask_ratio "
                "near .75"
            )

    @property
    def channels_per_token(self) -> int:
        """Every channel is cut into patches of its own."""
        return 1

    @property
    def num_tokens(self) -> int:
        """Patch tokens of one crop with all channels: the width of the mask noise."""
        return self.num_channels * self.encoder.num_tokens

    def kept_of(self, num_channels: int) -> int:
        """Patch tokens of a crop of so many channels that go through the encoder."""
        return int(num_channels * self.encoder.num_tokens * (1 - self.mask_ratio))


class CrossAttention(nn.Module):
    """Attention of tokens to a context, without biases of queries, keys and values."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim, bias=False)
        self.kv = nn.Linear(dim, 2 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens_BLD: Tensor, context_BMD: Tensor) -> Tensor:
        """What the context says to each token: [B, L, D]."""
        queries = torch.unflatten(self.q(tokens_BLD), -1, (self.num_heads, -1))
        keys, values = torch.unflatten(self.kv(context_BMD), -1, (2, self.num_heads, -1)).unbind(2)
        said: Tensor = self.proj(attend(queries, keys_BMNK=keys, values_BMNK=values))
        return said


class ChannelMixer(nn.Module):
    """Lets the tokens of every channel look at those of all channels and at the class token.

    One for all channels. What comes out is what the tokens saw, not what they were: there is no residual
    around the attention. Keys and values are computed once for all channels.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query_norm = TokenNorm(dim)
        self.context_norm = TokenNorm(dim)
        self.cross_attention = CrossAttention(dim, CROSS_HEADS)
        self.out_norm = TokenNorm(dim)
        self.mlp = Mlp(dim, 4 * dim)

    def forward(self, tokens_BLD: Tensor) -> Tensor:
        """[B, 1 + L, D], the class token first, to [B, L, D]."""
        seen_BLD = self.cross_attention(self.query_norm(tokens_BLD[:, 1:]), self.context_norm(tokens_BLD))
        mixed_BLD: Tensor = seen_BLD + self.mlp(self.out_norm(seen_BLD))
        return mixed_BLD


class ChannelGroup(NamedTuple):
    """Crops that have the same channels, and noise for the mask of their patches."""

    crops_BCHW: Tensor
    noise_BL: Tensor
    channels: tuple[int, ...]


class EncodedGroup(NamedTuple):
    """Crops that have the same channels, encoded.

    Attributes:
        encoded_BKD: the class token and the kept patches.
        restore_BL: the rank of each patch in the mask's noise.
        channels: which channels these crops have.
    """

    encoded_BKD: Tensor
    restore_BL: Tensor
    channels: tuple[int, ...]


class ChannelDecoders(nn.Module):
    """Reconstructs every channel with blocks of its own, after all channels were mixed by shared weights."""

    def __init__(self, config: ChannelAgnosticMaeConfig) -> None:
        super().__init__()
        dim = config.decoder_dim
        with torch.random.fork_rng(devices=[]):
            self.projection = nn.Linear(config.embedding_dim, dim)
            self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
            self.channel_tokens = nn.Parameter(torch.zeros(config.num_channels, dim))
            self.mixer = ChannelMixer(dim)
            self.stacks = nn.ModuleList(
                nn.Sequential(
                    *(StandardBlock(dim, config.decoder_heads) for _ in range(config.decoder_blocks))
                )
                for _ in range(config.num_channels)
            )
            self.head = nn.Linear(dim, config.encoder.patch_dim)
        positions = sincos_positions(dim, grid_size=config.encoder.grid_size)
        self.register_buffer("positions", positions, persistent=False)
        self.positions: Tensor

    def forward(self, groups: Sequence[EncodedGroup]) -> list[Tensor]:
        """Pixels of every patch of each group: [B, L, P].

        The blocks of a channel read the crops of all groups that have it at once.
        """
        mixed_BCND = [self._mix(group) for group in groups]
        restored: list[list[Tensor]] = [[] for _ in groups]
        idle = []
        for channel, stack in enumerate(self.stacks):
            owners = [index for index, group in enumerate(groups) if channel in group.channels]
            pieces = [mixed_BCND[index][:, groups[index].channels.index(channel)] for index in owners]
            # What no crop has reads zeros instead, and nothing of what comes out reaches the loss: the
            # gradient of these weights is zero and not absent, as ranks need whose crops differ.
            tokens_BND = torch.cat(pieces) if pieces else torch.zeros_like(mixed_BCND[0][:1, 0])
            tokens_BND = stack(tokens_BND)
            if not pieces:
                idle.append(tokens_BND[:0].sum())
                continue
            for index, piece in zip(owners, torch.split(tokens_BND, [*map(len, pieces)]), strict=True):
                restored[index].append(piece)
        predictions = [self.head(torch.stack(pieces, dim=1)).flatten(1, 2) for pieces in restored]
        if idle:
            predictions[0] = predictions[0] + torch.stack(idle).sum()
        return predictions

    def _mix(self, group: EncodedGroup) -> Tensor:
        """The tokens of each channel after they saw those of all: [B, C, N, D]."""
        tokens = fill_in(
            self.projection(group.encoded_BKD), mask_token=self.mask_token, restore_BL=group.restore_BL
        )
        channels = list(group.channels)
        marks_CND = self.positions[1:] + self.channel_tokens[channels][:, None]
        marked = tokens + torch.cat([self.positions[:1], marks_CND.flatten(0, 1)])
        mixed_BCND: Tensor = torch.unflatten(self.mixer(marked), 1, (len(channels), -1))
        return mixed_BCND


class ChannelAgnosticMae(TransformerAutoencoder):
    """A channel-agnostic ViT and the decoders that train it; all weights follow from `seed`."""

    config: ChannelAgnosticMaeConfig
    encoder: ChannelAgnosticTransformer
    decoder: ChannelDecoders

    def __init__(self, config: ChannelAgnosticMaeConfig, *, seed: int = 0) -> None:
        encoder, decoder = ChannelAgnosticTransformer(config.encoder), ChannelDecoders(config)
        super().__init__(config, encoder=encoder, decoder=decoder, seed=seed)

    def blocks(self) -> list[nn.Module]:
        """The blocks of the encoder, what mixes the channels, then the blocks of each channel."""
        stacks = (list(stack.children()) for stack in self.decoder.stacks)
        return [*self.encoder.blocks, self.decoder.mixer, *chain.from_iterable(stacks)]

    def encoder_config(
        self, *, channels: tuple[str, ...], intensity_scale: float, **facts: Any
    ) -> EncoderConfig:
        """The description of the encoder in it."""
        settings = {"channels": channels, "intensity_scale": intensity_scale, **facts}
        return ca_encoder_config(self.config.encoder, max_channels=self.config.max_channels, **settings)

    def forward(self, crops_BCHW: Tensor, *arguments: Tensor) -> MaskedPrediction:
        """Mask all channels together, encode the kept patches, reconstruct all.

        Args:
            crops_BCHW: self-standardized crops; a channel that a crop does not have may hold anything.
            arguments: `noise_BL`, uniform noise of any float type, channel by channel (patches of lowest
                noise are kept); then, if crops lack channels, `present_BC`: which ones each crop has, best
                on the CPU.

        Returns:
            Patches of one channel each, channel by channel. Given `present_BC`, those of the whole minibatch
            follow each other ([1, L, P]), and the weights of each crop's removed ones sum to 1.
        """
        noise_BL, *present = arguments
        if not present:
            everything = tuple(range(self.config.num_channels))
            return self._restore([ChannelGroup(crops_BCHW, noise_BL, everything)])[0]
        groups = group_by_channels(crops_BCHW, noise_BL=noise_BL, present_BC=present[0])
        return _one_after_the_other(self._restore(groups))

    def _restore(self, groups: Sequence[ChannelGroup]) -> list[MaskedPrediction]:
        patches_BLP = [self.encoder.cut(group.crops_BCHW) for group in groups]
        masks = [
            mask_patches(group.noise_BL, num_kept=self.config.kept_of(len(group.channels)))
            for group in groups
        ]
        encoded = [
            EncodedGroup(encode_kept(self.encoder, patches, mask=mask), mask.restore_BL, group.channels)
            for group, patches, mask in zip(groups, patches_BLP, masks, strict=True)
        ]
        patch_size, grid_size = self.config.patch_size, self.config.encoder.grid_size
        return [
            MaskedPrediction(restored, patches, mask.mask_BL, patch_size, grid_size)
            for restored, patches, mask in zip(self.decoder(encoded), patches_BLP, masks, strict=True)
        ]


def group_by_channels(crops_BCHW: Tensor, *, noise_BL: Tensor, present_BC: Tensor) -> list[ChannelGroup]:
    """The crops of each set of channels together, each with the pixels and the noise of its channels only."""
    rows_of: dict[tuple[int, ...], list[int]] = {}
    for row, present in enumerate(present_BC.tolist()):
        channels = tuple(channel for channel, is_there in enumerate(present) if is_there)
        assert channels, f"crop {row} of the minibatch has no channel"
        rows_of.setdefault(channels, []).append(row)
    noise_BCN = torch.unflatten(noise_BL, 1, (present_BC.shape[1], -1))
    return [
        ChannelGroup(
            crops_BCHW[rows][:, list(channels)], noise_BCN[rows][:, list(channels)].flatten(1), channels
        )
        for channels, rows in rows_of.items()
    ]


def _one_after_the_other(groups: Sequence[MaskedPrediction]) -> MaskedPrediction:
    """One prediction of all patches, in which every crop weighs the same, however many channels it has."""
    weights = [group.mask_BL / group.mask_BL.sum(dim=1, keepdim=True) for group in groups]
    return MaskedPrediction(
        torch.cat([group.prediction_BLP.flatten(0, 1) for group in groups])[None],
        torch.cat([group.target_BLP.flatten(0, 1) for group in groups])[None],
        torch.cat([weight.flatten() for weight in weights])[None],
        groups[0].patch_size,
        groups[0].grid_size,
    )
