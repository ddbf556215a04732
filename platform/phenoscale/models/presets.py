"""The natural-image encoders that the papers compare with, by name. science.md 1.1."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TimmPreset:
    """One baseline: a timm model with the tag of its pretrained weights.

    Attributes:
        timm_model: name and tag, as timm's hub calls them.
        input_size: what crops are resized to, where patches do not tile them; None reads them as they are.
    """

    timm_model: str
    input_size: int | None = None


# ViT-*: the default weights of the models that maes_microscopy's vit_encoder.py names. Patches of 14 px do
# not tile 256 px; at 224 px DINOv2 has as many tokens as the 16 px models have at 256.
TIMM_PRESETS: dict[str, TimmPreset] = {
    "vit_s16_in21k": TimmPreset("vit_small_patch16_384.augreg_in21k_ft_in1k"),
    "vit_b16_in21k": TimmPreset("vit_base_patch16_384.augreg_in21k_ft_in1k"),
    "vit_b8_in21k": TimmPreset("vit_base_patch8_224.augreg2_in21k_ft_in1k"),
    "vit_l16_in21k": TimmPreset("vit_large_patch16_384.augreg_in21k_ft_in1k"),
    "mae_l16_in1k": TimmPreset("vit_large_patch16_224.mae"),
    "dinov2_s14": TimmPreset("vit_small_patch14_dinov2.lvd142m", input_size=224),
    "dinov2_l14": TimmPreset("vit_large_patch14_dinov2.lvd142m", input_size=224),
    "dinov2_g14": TimmPreset("vit_giant_patch14_dinov2.lvd142m", input_size=224),
}
