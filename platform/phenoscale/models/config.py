"""Settings of `import`: which encoder to make without training it."""

from typing import Literal

from phenoscale.config import Config, Runtime, location, setting
from phenoscale.models.presets import TIMM_PRESETS

ImportSource = Literal["untrained", "pixel_statistics", "random_vectors", "timm", "openphenom"]


class ImportConfig(Config):
    """Make an encoder without training: released weights, or a baseline that a trained encoder has to beat.

    `openphenom` reads the weights of OpenPhenom from a file; `timm` those of any vision transformer of timm,
    by its name or as a `preset`. Nothing is downloaded: fetch the file where there is a network, give its
    path. `untrained` copies the architecture of another encoder and draws fresh weights from the seed.
    `pixel_statistics` reads five intensity statistics per channel. `random_vectors` knows nothing of biology:
    a crop's vector follows from the seed and the digest of its pixels alone. All but `untrained` take
    channels, crop size and intensity scale from the encoder given as `like`, or from the fields of these
    names, which win.
    """

    source: ImportSource = setting(
        "untrained", help="untrained, pixel_statistics, random_vectors, timm or openphenom"
    )
    like: str = location(
        help="encoder folder to take settings from: untrained takes its architecture, the others its "
        "channels, crop size and intensity scale"
    )
    weights: str = location(
        help="file of the released weights (openphenom, timm): safetensors, or a torch file that holds "
        "nothing but tensors"
    )
    timm_model: str = setting(
        "", help="name of the model in timm, with the tag of its weights: vit_large_patch16_224.mae"
    )
    preset: str = setting(
        "", help=f"a baseline of the papers instead of timm_model: {', '.join(TIMM_PRESETS)}"
    )
    channels: tuple[str, ...] = setting(
        (), help="stain names in the order of the screen store; openphenom reads any 1 to 11"
    )
    crop_size: int | None = setting(
        None,
        ge=1,
        help="height and width of a crop, in pixels; default 256, for openphenom that of its weights",
    )
    intensity_scale: float | None = setting(
        None,
        gt=0,
        help="raw intensities are divided by this; must equal the screen store's; default 255 (8 bit)",
    )
    pooling: Literal["mean_patch_tokens", "class_token", "channel_means"] = setting(
        "mean_patch_tokens",
        help="how tokens become one embedding (openphenom, timm); channel_means, one mean per channel side "
        "by side, is for openphenom",
    )
    final_norm: bool = setting(
        False, help="apply the final LayerNorm to the tokens of any block (timm); openphenom's file decides"
    )
    input_size: int | None = setting(
        None,
        ge=1,
        help="crops are resized to this before the backbone (timm), in pixels: a multiple of its patch; "
        "default the preset's, or no resizing: position embeddings are resampled to the crop",
    )
    dim: int = setting(1024, ge=1, help="length of a random vector")
    license: str = setting("", help="license of the weights, for the encoder's card: CC-BY-NC-4.0")
    seed: int = setting(0, ge=0, help="seed of untrained weights and of random vectors")
    runtime: Runtime = Runtime()
