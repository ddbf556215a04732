"""Any vision transformer of timm as an encoder, with released weights from a local file. science.md 1.1, 3.

Shapes: B minibatch, C channels, H W pixels, L patch tokens, D embedding.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import timm
import torch
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from phenoscale.errors import UserError
from phenoscale.logs import get_logger, key_values
from phenoscale.models.readout import BlockReader
from phenoscale.models.weights import check_weights, load_weights
from phenoscale.schema.encoders import EncoderConfig, Pooling

logger = get_logger(__name__)


class TimmEncoder(BlockReader):
    """A timm backbone without its classifier; the mean of the patch tokens leaves class and registers out.

    Crops are standardized first and resized afterwards: resizing is linear, so that it commutes with all of
    the standardization but a factor per channel.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.backbone: nn.Module = build_backbone(config)

    @property
    def weights(self) -> nn.Module:
        """The backbone."""
        return self.backbone

    def initialize(self, generator: torch.Generator) -> None:
        """Draw timm's own untrained weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            self.backbone.load_state_dict(build_backbone(self.config).state_dict())

    def read_blocks(self, crops_BCHW: Tensor, *, first: int) -> Iterator[Tensor]:
        """The pooled tokens after each block from `first` on: [B, D]; the blocks run together."""
        yield from self._pooled(crops_BCHW, first=first, last=self.num_blocks - 1)

    def _read_piece(self, crops_BCHW: Tensor, *, first: int, last: int) -> Tensor:
        """Only as far as asked: timm wants to know where to stop beforehand."""
        return torch.stack(self._pooled(self._prepare(crops_BCHW), first=first, last=last))

    def _pooled(self, crops_BCHW: Tensor, *, first: int, last: int) -> list[Tensor]:
        tokens_of_class = self.config.pooling == "class_token"
        backbone: Any = self.backbone
        blocks: list[Any] = backbone.forward_intermediates(
            _resized(crops_BCHW, size=self.config.input_size),
            indices=list(range(first, last + 1)),
            norm=self.config.apply_final_norm,
            stop_early=True,
            output_fmt="NLC",
            intermediates_only=True,
            return_prefix_tokens=tokens_of_class,
        )
        if tokens_of_class:
            return [prefix_BLD[:, 0].float() for _, prefix_BLD in blocks]
        return [patches_BLD.float().mean(dim=1) for patches_BLD in blocks]


def _resized(crops_BCHW: Tensor, *, size: int | None) -> Tensor:
    if size is None or crops_BCHW.shape[-1] == size:
        return crops_BCHW
    return nn.functional.interpolate(crops_BCHW, size=(size, size), mode="bicubic", antialias=True)


def build_backbone(config: EncoderConfig) -> nn.Module:
    """The timm model that a config describes, without classifier and without released weights."""
    assert config.timm_model is not None, "a timm encoder names its model"
    return timm.create_model(config.timm_model, pretrained=False, **_arguments(config))


def _arguments(config: EncoderConfig) -> dict[str, Any]:
    return {
        "num_classes": 0,
        "in_chans": len(config.channels),
        "img_size": config.input_size or config.crop_size,
        "depth": config.num_blocks,
    }


def timm_encoder_config(
    name: str,
    *,
    channels: tuple[str, ...],
    crop_size: int,
    input_size: int | None = None,
    pooling: Pooling = "mean_patch_tokens",
    **facts: Any,
) -> EncoderConfig:
    """The encoder config of a timm model, all its blocks kept.

    Args:
        name: of the model in timm, with or without the tag of its weights.
        channels: stain names in order.
        crop_size: height and width of a crop, in pixels.
        input_size: what crops are resized to; None leaves them, and position embeddings are resampled.
        pooling: mean_patch_tokens or class_token.
        facts: `intensity_scale` and whatever else is known: license, is_trained, apply_final_norm.

    Raises:
        UserError: no such model, not a vision transformer, patches that do not tile the input, no
            class token.
    """
    model = _look_at(name)
    patch_size = model.patch_embed.patch_size[0]
    size = input_size or crop_size
    if size % patch_size:
        nearest = max(1, round(size / patch_size)) * patch_size
        raise UserError(
            f"patches of {patch_size} px of {name} do not tile its input of {size} px; "
            f"set input_size to a multiple of {patch_size}, such as {nearest}: crops are resized to it"
        )
    if pooling not in ("mean_patch_tokens", "class_token"):
        raise UserError(
            f"{name} mixes the channels in its first layer, so that pooling {pooling} cannot be read from "
            "it; use mean_patch_tokens or class_token"
        )
    if pooling == "class_token" and getattr(model, "cls_token", None) is None:
        raise UserError(f"{name} has no class token to read; use pooling mean_patch_tokens")
    if facts.get("apply_final_norm") and isinstance(model.norm, nn.Identity):
        raise UserError(f"{name} has no final norm over its tokens; leave final_norm out")
    return EncoderConfig(
        architecture="timm",
        timm_model=name,
        channels=channels,
        crop_size=crop_size,
        input_size=input_size,
        patch_size=patch_size,
        embedding_dim=model.embed_dim,
        num_blocks=len(model.blocks),
        num_heads=model.blocks[0].attn.num_heads,
        pooling=pooling,
        **facts,
    )


def timm_license(name: str) -> str:
    """The license of the weights as timm records it; empty where it records none."""
    found = timm.get_pretrained_cfg(name)
    return str(found.license or "") if found is not None else ""


def _look_at(name: str) -> Any:
    """The model as timm defines it, on no device: its tensors have shapes and no values."""
    if not timm.is_model(name):
        raise UserError(
            f"timm {timm.__version__} has no model {name!r}; `timm.list_models('vit*')` lists its vision "
            "transformers (models of a hub or a folder are not looked up)"
        )
    try:
        model = timm.create_model(name, pretrained=False, num_classes=0, device="meta")
    except (RuntimeError, TypeError) as error:
        raise UserError(f"timm cannot build {name!r}: {error}; correct its name and tag") from error
    if not isinstance(model, VisionTransformer | Eva) or getattr(model, "rope_mixed", False):
        raise UserError(
            f"{name} is no plain vision transformer, whose blocks can be read one by one and cut off; choose "
            "one of `timm.list_models('vit*')`"
        )
    return model


def import_timm(config: EncoderConfig, tensors: Mapping[str, Tensor], *, source: str) -> TimmEncoder:
    """An encoder with released weights; timm's own rules fit them to the input.

    Input weights are repeated over the channels and scaled by 3 / C, position embeddings are resampled to the
    grid. The classifier in the file is left out.

    Args:
        config: as `timm_encoder_config` makes it.
        tensors: names and values, as the file has them.
        source: the file, for messages.

    Raises:
        UserError: the file belongs to another model; names the tensors that differ, with their shapes.
    """
    name = config.timm_model or ""
    as_released: Any = timm.create_model(name, pretrained=False, num_classes=0, device="meta")
    kept = _without_classifier(tensors, facts=as_released.pretrained_cfg, source=source)
    try:
        # strict: with as many classes as the file has now, none, timm refuses any name or shape that differs
        overlay = {"state_dict": kept, "num_classes": 0, "label_offset": 0, "source": ""}
        with torch.random.fork_rng(devices=[]):
            converted = timm.create_model(
                name, pretrained=True, pretrained_cfg_overlay=overlay, **_arguments(config)
            )
    except (RuntimeError, KeyError, ValueError, AssertionError, AttributeError) as error:
        expected = config.describe()
        check_weights(as_released.state_dict(), kept, source=source, expected=expected)
        raise UserError(
            f"{source} does not hold the weights of {expected}: {error}; give the file that the hub has "
            "under this name"
        ) from error
    encoder = TimmEncoder(dataclasses.replace(config, is_trained=True)).eval()
    load_weights(encoder.weights, converted.state_dict(), source=source, expected=config.describe())
    return encoder


def _without_classifier(
    tensors: Mapping[str, Tensor], *, facts: Mapping[str, Any], source: str
) -> dict[str, Tensor]:
    heads = facts.get("classifier") or ()
    names = (heads,) if isinstance(heads, str) else tuple(heads)
    dropped = [key for key in tensors if key.rpartition(".")[0] in names]
    if dropped:
        logger.info(key_values(ignored_classifier=", ".join(dropped), file=source))
    return {key: value for key, value in tensors.items() if key not in dropped}
