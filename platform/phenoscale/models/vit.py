"""The vision transformer of the masked autoencoders: blocks over linear patch tokens. science.md 1.2.

Shapes: B minibatch, C channels, H W pixels, L patch tokens of a crop, K tokens kept by the mask, D embedding,
P = C * p * p pixels of a patch (channel-major, so that a patch reshapes to (C, p, p)).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from phenoscale.errors import UserError
from phenoscale.models.attention import TokenAttention
from phenoscale.models.blocks import ParallelBlock, StandardBlock, TokenNorm
from phenoscale.models.positions import sincos_positions
from phenoscale.schema.encoders import BlockStyle


@dataclass(frozen=True, kw_only=True)
class VisionTransformerConfig:
    """Size and block of a vision transformer.

    `standard` is timm's pre-norm block with biases; `parallel` is the block of the published encoders, whose
    released weights need the legacy order of its bias.
    """

    num_channels: int
    crop_size: int
    patch_size: int
    embedding_dim: int
    num_blocks: int
    num_heads: int
    mlp_ratio: float = 4.0
    block: BlockStyle = "standard"
    qk_norm: bool = False
    layer_scale_init: float | None = None
    drop_path_rate: float = 0.0
    legacy_bias_order: bool = False

    def __post_init__(self) -> None:
        check_grid(self.crop_size, patch_size=self.patch_size)
        check_width(self.embedding_dim, num_heads=self.num_heads, name="embedding_dim")
        if self.legacy_bias_order and self.block != "parallel":
            raise UserError(
                f"legacy_bias_order is a matter of parallel blocks, and these are {self.block}; leave it "
                "out, or set block: parallel"
            )

    @property
    def grid_size(self) -> int:
        """Tokens per side of a crop."""
        return self.crop_size // self.patch_size

    @property
    def num_tokens(self) -> int:
        """Patch tokens of one crop, without the class token."""
        return self.grid_size**2

    @property
    def patch_dim(self) -> int:
        """Pixels of one patch over all channels."""
        return self.num_channels * self.patch_size**2


def check_grid(crop_size: int, *, patch_size: int) -> None:
    """Raise a UserError unless patches tile the crop."""
    if patch_size <= 0 or crop_size < patch_size or crop_size % patch_size:
        raise UserError(
            f"crop_size {crop_size} px is no multiple of patch_size {patch_size} px: patches must tile the "
            "crop; choose a patch_size that divides crop_size"
        )


def check_width(dim: int, *, num_heads: int, name: str) -> None:
    """Raise a UserError unless the dimension splits over heads and over the four parts of a 2-D position."""
    if num_heads <= 0 or dim <= 0 or dim % num_heads or dim % 4:
        raise UserError(
            f"{name} {dim} must be a positive multiple of 4 (2-D positions) and of the number of heads, "
            f"{num_heads}; choose another {name} or number of heads"
        )


def patchify(crops_BCHW: Tensor, *, patch_size: int) -> Tensor:
    """Cut crops into patches, row by row: [B, C, H, W] -> [B, L, C * p * p]."""
    B, C, H, W = crops_BCHW.shape
    p = patch_size
    grid = crops_BCHW.reshape(B, C, H // p, p, W // p, p)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(B, (H // p) * (W // p), C * p * p)


def unpatchify(patches_BLP: Tensor, *, num_channels: int, patch_size: int) -> Tensor:
    """The inverse of `patchify`: [B, L, C * p * p] -> [B, C, H, W] of a square crop.

    It also takes patches of single channels, channel after channel: [B, C * L, p * p].
    """
    B, _, P = patches_BLP.shape
    p = patch_size
    together = P // p**2  # channels in one patch
    by_image = patches_BLP.reshape(B * num_channels // together, -1, P)
    side = round(by_image.shape[1] ** 0.5)
    grid = by_image.reshape(-1, side, side, together, p, p).permute(0, 3, 1, 4, 2, 5)
    return grid.reshape(B, num_channels, side * p, side * p)


def build_blocks(config: VisionTransformerConfig) -> nn.ModuleList:
    """The blocks of an encoder; the drop-path rate rises linearly from 0 at the first block."""
    steps = max(config.num_blocks - 1, 1)
    rates = [config.drop_path_rate * index / steps for index in range(config.num_blocks)]
    return nn.ModuleList(_build_block(config, drop_path=rate) for rate in rates)


def _build_block(config: VisionTransformerConfig, *, drop_path: float) -> nn.Module:
    if config.block == "standard":
        return StandardBlock(
            config.embedding_dim,
            config.num_heads,
            mlp_ratio=config.mlp_ratio,
            qk_norm=config.qk_norm,
            init_values=config.layer_scale_init,
            drop_path=drop_path,
        )
    return ParallelBlock(
        config.embedding_dim,
        config.num_heads,
        mlp_ratio=config.mlp_ratio,
        qk_norm=config.qk_norm,
        layer_scale_init=config.layer_scale_init,
        drop_path=drop_path,
        legacy_bias_order=config.legacy_bias_order,
    )


class VisionTransformer(nn.Module):
    """A ViT with a class token, fixed positions and a final norm, read out block by block.

    Weights are timm's and torch's own until `initialize` is called; global randomness is left untouched.
    """

    def __init__(self, config: VisionTransformerConfig) -> None:
        super().__init__()
        self.config = config
        with torch.random.fork_rng(devices=[]):
            self.patch_projection = nn.Linear(config.patch_dim, config.embedding_dim)
            self.cls_token = nn.Parameter(torch.zeros(1, 1, config.embedding_dim))
            self.blocks = build_blocks(config)
            self.norm = TokenNorm(config.embedding_dim)
        positions = sincos_positions(config.embedding_dim, grid_size=config.grid_size)
        self.register_buffer("positions", positions, persistent=False)
        self.positions: Tensor

    def cut(self, crops_BCHW: Tensor) -> Tensor:
        """The patches that become tokens: [B, L, P]."""
        return patchify(crops_BCHW, patch_size=self.config.patch_size)

    def patch_positions(self, kept_BK: Tensor | None, *, num_patches: int) -> Tensor:
        """The position of each given patch, or of all of them in order: [B, K, D] or [L, D]."""
        assert kept_BK is not None or num_patches == self.config.num_tokens, (
            f"{num_patches} are not all patches"
        )
        return self.positions[1:] if kept_BK is None else self.positions[1:][kept_BK]

    def embed_patches(self, patches_BKP: Tensor, *, kept_BK: Tensor | None = None) -> Tensor:
        """Project patches, add their positions and put the class token in front: [B, 1 + K, D].

        Args:
            patches_BKP: all patches of each crop, or only the kept ones.
            kept_BK: position of each given patch in the crop; None means all patches in order.
        """
        positions = self.patch_positions(kept_BK, num_patches=patches_BKP.shape[1])
        tokens_BKD = self.patch_projection(patches_BKP) + positions
        cls_B1D = (self.cls_token + self.positions[:1]).expand(tokens_BKD.shape[0], -1, -1)
        return torch.cat([cls_B1D.to(tokens_BKD.dtype), tokens_BKD], dim=1)

    def forward(self, patches_BKP: Tensor, kept_BK: Tensor | None = None) -> Tensor:
        """Tokens after the last block and the final norm: [B, 1 + K, D], the class token first."""
        tokens = self.embed_patches(patches_BKP, kept_BK=kept_BK)
        for block in self.blocks:
            tokens = block(tokens)
        normed: Tensor = self.norm(tokens)
        return normed

    def tokens_by_block(self, crops_BCHW: Tensor) -> Iterator[Tensor]:
        """Tokens after block 0, 1, ... of whole crops, each [B, 1 + L, D], without the final norm."""
        tokens = self.embed_patches(self.cut(crops_BCHW))
        for block in self.blocks:
            tokens = block(tokens)
            yield tokens


def initialize(module: nn.Module, *, generator: torch.Generator) -> None:
    """Draw all weights of a ViT or decoder from `generator`, in the order of its modules.

    As in the MAE reference code: Xavier-uniform linear weights, zero biases, class token normal with standard
    deviation .02. Norms, LayerScale, the mask token and the parallel block's MLP bias keep the values they
    are built with. Keys of the standard block start equal to its queries, so that tokens first attend to what
    is alike, their neighbors included (Trockman and Kolter 2023, arXiv:2305.09828): it halves the plateau
    at the start of a short training (docs/experiments.md).
    """
    for child in module.modules():
        if isinstance(child, nn.Linear):
            nn.init.xavier_uniform_(child.weight, generator=generator)
            if child.bias is not None:
                nn.init.zeros_(child.bias)
        elif isinstance(child, VisionTransformer):
            nn.init.normal_(child.cls_token, std=0.02, generator=generator)
    for child in module.modules():
        if isinstance(child, TokenAttention):
            dim = child.qkv.in_features
            with torch.no_grad():
                child.qkv.weight[dim : 2 * dim] = child.qkv.weight[:dim]


def seeded(seed: int) -> torch.Generator:
    """A CPU generator at the start of the stream of `seed`."""
    return torch.Generator().manual_seed(seed)
