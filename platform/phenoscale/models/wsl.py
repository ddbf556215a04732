"""Weakly supervised learning: name the perturbation from one crop. science.md 1.1, 1.6, 1.8.

Two backbones: the vision transformer of the masked autoencoder, read at the class token of its final layer,
and DenseNet with a two-layer neck, whose output is the embedding. With `ghost_batch` the DenseNet is AdaBN:
its batch norms take their statistics from groups of crops of one plate, in training and at inference.

Shapes: B minibatch, C channels, H W pixels, D embedding, K classes.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from phenoscale.errors import UserError
from phenoscale.models.convolutions import initialize_convolutions
from phenoscale.models.densenet_encoder import DenseNetwork, densenet_encoder_config, find_dense_size
from phenoscale.models.ghost_norm import check_ghost_batch
from phenoscale.models.objectives import ClassPrediction, TrainingModel
from phenoscale.models.vit import (
    VisionTransformer,
    VisionTransformerConfig,
    check_grid,
    initialize,
    patchify,
    seeded,
)
from phenoscale.models.vit_encoder import vit_encoder_config
from phenoscale.schema.encoders import BlockStyle, EncoderConfig

VIT = "vit"
DENSE_SETTINGS = ("neck_dim", "ghost_batch")
TRANSFORMER_SIZE = ("patch_size", "embedding_dim", "num_blocks", "num_heads")
TRANSFORMER_SETTINGS = (
    *TRANSFORMER_SIZE,
    "mlp_ratio",
    "block",
    "qk_norm",
    "layer_scale_init",
    "drop_path_rate",
)

_TINY = {"patch_size": 8, "embedding_dim": 48, "num_blocks": 2, "num_heads": 2}
_SMALL = {"patch_size": 8, "embedding_dim": 192, "num_blocks": 6, "num_heads": 3}
_B = {"patch_size": 16, "embedding_dim": 768, "num_blocks": 12, "num_heads": 12}
_L = {"patch_size": 16, "embedding_dim": 1024, "num_blocks": 24, "num_heads": 16}

# Every named size: what WeaklySupervisedConfig needs besides the numbers of channels and classes. The
# published transformers are timm's ordinary ones. DenseNet-161 was published with necks of 128 and 1024, with
# ordinary batch norm and with a ghost_batch of 16.
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"backbone": VIT, "crop_size": 64, **_TINY},
    "small": {"backbone": VIT, "crop_size": 64, **_SMALL},
    "B/16": {"backbone": VIT, "crop_size": 256, **_B},
    "L/16": {"backbone": VIT, "crop_size": 256, **_L},
    "dense-tiny": {"backbone": "dense-tiny", "crop_size": 64, "neck_dim": 16},
    "dense-small": {"backbone": "dense-small", "crop_size": 64, "neck_dim": 128},
    "densenet161": {"backbone": "densenet161", "crop_size": 256, "neck_dim": 128},
}


@dataclass(frozen=True, kw_only=True)
class WeaklySupervisedConfig:
    """A backbone and the number of classes that it tells apart.

    Attributes:
        num_channels: channels of a crop.
        crop_size: height and width of a crop, in pixels.
        num_classes: labels of the training data.
        backbone: `vit`, or the name of a DenseNet.
        neck_dim: DenseNet: length of the neck's output, which is the embedding.
        ghost_batch: DenseNet: crops that share batch-norm statistics (AdaBN); None is ordinary batch norm.
        patch_size: transformer, as all below: see VisionTransformerConfig.
    """

    num_channels: int
    crop_size: int
    num_classes: int
    backbone: str
    neck_dim: int | None = None
    ghost_batch: int | None = None
    patch_size: int | None = None
    embedding_dim: int | None = None
    num_blocks: int | None = None
    num_heads: int | None = None
    mlp_ratio: float = 4.0
    block: BlockStyle = "standard"
    qk_norm: bool = False
    layer_scale_init: float | None = None
    drop_path_rate: float = 0.0

    def __post_init__(self) -> None:
        if self.num_classes is None or self.num_classes < 2:
            raise UserError(
                f"num_classes {self.num_classes} leaves nothing to tell apart: weakly supervised learning "
                "needs at least 2 perturbations; train on crops with labels, or choose a masked family"
            )
        if self.is_transformer:
            _check_settings(self, needed=TRANSFORMER_SIZE, foreign=DENSE_SETTINGS)
            check_grid(self.crop_size, patch_size=self.transformer.patch_size)
            return
        find_dense_size(self.backbone)
        _check_settings(self, needed=("neck_dim",), foreign=TRANSFORMER_SETTINGS)
        if self.ghost_batch is not None:
            check_ghost_batch(self.ghost_batch)

    @property
    def is_transformer(self) -> bool:
        """Whether the backbone is the vision transformer."""
        return self.backbone == VIT

    @property
    def transformer(self) -> VisionTransformerConfig:
        """The part that describes a transformer."""
        settings: dict[str, Any] = {name: getattr(self, name) for name in TRANSFORMER_SETTINGS}
        return VisionTransformerConfig(num_channels=self.num_channels, crop_size=self.crop_size, **settings)

    @property
    def output_dim(self) -> int:
        """Length of the embedding, from which the classes are read."""
        length = self.embedding_dim if self.is_transformer else self.neck_dim
        assert length is not None, "the settings were checked"
        return length


def _check_settings(
    config: WeaklySupervisedConfig, *, needed: tuple[str, ...], foreign: tuple[str, ...]
) -> None:
    """Raise a UserError unless a backbone has the settings it needs, and none that only the other has."""
    missing = [name for name in needed if getattr(config, name) is None]
    if missing:
        raise UserError(
            f"backbone {config.backbone} needs {', '.join(missing)}; give a number, or choose a named size"
        )
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    unused = [name for name in foreign if getattr(config, name) != defaults[name]]
    if unused:
        raise UserError(
            f"backbone {config.backbone} has no {', '.join(unused)}; leave it out, or choose a size with "
            "another backbone"
        )


class WeaklySupervisedModel(TrainingModel):
    """A backbone and a linear classifier on its embedding; all weights follow from `seed`."""

    config: WeaklySupervisedConfig

    def __init__(self, config: WeaklySupervisedConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        with torch.random.fork_rng(devices=[]):
            self.encoder = _build_encoder(config)
            self.head = nn.Linear(config.output_dim, config.num_classes)
        # Two streams: an untrained encoder of the same seed has the weights that this encoder starts from.
        draw = initialize if config.is_transformer else initialize_convolutions
        draw(self.encoder, generator=seeded(seed))
        # so small that training starts without an opinion, at a loss of log K
        nn.init.normal_(self.head.weight, std=0.02, generator=seeded(seed + 1))
        nn.init.zeros_(self.head.bias)

    @property
    def needs_same_plate(self) -> int:
        """Crops that share batch-norm statistics, with ghost batch norm."""
        return self.config.ghost_batch or 0

    def blocks(self) -> list[nn.Module]:
        """The blocks of the transformer, or the dense blocks."""
        if isinstance(self.encoder, VisionTransformer):
            return [*self.encoder.blocks]
        return self.encoder.dense_blocks

    @property
    def encoder_weights(self) -> VisionTransformer | DenseNetwork:
        """The backbone, with its neck if it has one; not the classifier."""
        return self.encoder

    def encoder_config(
        self, *, channels: tuple[str, ...], intensity_scale: float, **facts: Any
    ) -> EncoderConfig:
        """The description of the encoder in it: it reads what the classifier reads."""
        config = self.config
        known: dict[str, Any] = {"channels": channels, "intensity_scale": intensity_scale, **facts}
        if config.is_transformer:
            read_out: dict[str, Any] = {"pooling": "class_token", "apply_final_norm": True}
            return vit_encoder_config(config.transformer, **{**read_out, **known})
        return densenet_encoder_config(
            config.backbone,
            crop_size=config.crop_size,
            neck_dim=config.output_dim,
            ghost_batch=config.ghost_batch,
            **known,
        )

    def embed(self, crops_BCHW: Tensor) -> Tensor:
        """Embeddings of self-standardized crops: [B, D]."""
        if isinstance(self.encoder, VisionTransformer):
            patches_BLP = patchify(crops_BCHW, patch_size=self.encoder.config.patch_size)
            tokens_BLD: Tensor = self.encoder(patches_BLP)
            return tokens_BLD[:, 0]
        embedded_BD: Tensor = self.encoder(crops_BCHW)
        return embedded_BD

    def forward(self, crops_BCHW: Tensor, labels_B: Tensor) -> ClassPrediction:
        """Logits of every class beside the true one.

        Args:
            crops_BCHW: self-standardized crops; with ghost batch norm each group of one plate.
            labels_B: the class of each crop.
        """
        return ClassPrediction(self.head(self.embed(crops_BCHW)), labels_B)


def _build_encoder(config: WeaklySupervisedConfig) -> VisionTransformer | DenseNetwork:
    if config.is_transformer:
        return VisionTransformer(config.transformer)
    return DenseNetwork(
        config.backbone,
        num_channels=config.num_channels,
        neck_dim=config.output_dim,
        ghost_batch=config.ghost_batch,
    )
