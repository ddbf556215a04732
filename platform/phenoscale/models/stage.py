"""The `import` verb: released weights and baselines as encoders, through the same door as trained ones."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from phenoscale.config import require
from phenoscale.errors import UserError
from phenoscale.models.config import ImportConfig, ImportSource
from phenoscale.models.encoder import save_encoder, untrained_encoder
from phenoscale.models.openphenom import import_openphenom
from phenoscale.models.pixel_statistics import pixel_statistics_config
from phenoscale.models.presets import TIMM_PRESETS, TimmPreset
from phenoscale.models.random_vectors import random_vectors_config
from phenoscale.models.readout import Encoder
from phenoscale.models.timm_encoder import import_timm, timm_encoder_config, timm_license
from phenoscale.models.weights import read_released_weights
from phenoscale.schema.encoders import EncoderConfig, encoder_digest, encoder_folder, read_encoder_config
from phenoscale.stages import Observer, Output, StageResult, ignore, run_stage

DEFAULT_CROP_SIZE = 256
DEFAULT_INTENSITY_SCALE = 255.0
UNKNOWN_LICENSE = "not recorded; see the page that they came from"
_INPUT = frozenset({"like", "channels", "crop_size", "intensity_scale"})
# The fields that each source reads besides seed and runtime, which a section shared by several may always
# set.
_READS: dict[ImportSource, frozenset[str]] = {
    "untrained": frozenset({"like"}),
    "pixel_statistics": _INPUT,
    "random_vectors": _INPUT | {"dim"},
    "timm": _INPUT | {"weights", "timm_model", "preset", "pooling", "final_norm", "input_size", "license"},
    "openphenom": _INPUT | {"weights", "pooling", "license"},
}


def run_import(config: ImportConfig, *, observe: Observer = ignore) -> StageResult:
    """Write the encoder into `encoder/` of the stage's output."""
    _check_fields(config)
    like = encoder_folder(config.like) if config.like else None
    result = run_stage(
        "import",
        entry=__name__,
        config=config,
        inputs={"like": like or "", "weights": config.weights},
        build=partial(_build, config=config, like=like),
    )
    observe(0, {"num_parameters": float(result.summary["num_parameters"])})
    return result


def _check_fields(config: ImportConfig) -> None:
    """Raise a UserError for a field that the source does not read, and for one that it lacks."""
    idle = [
        name
        for name, info in ImportConfig.model_fields.items()
        if name not in {"source", "seed", "runtime"} | _READS[config.source]
        and getattr(config, name) != info.default
    ]
    if idle:
        raise UserError(
            f"import --source {config.source} does not read {', '.join('--' + name for name in idle)}; leave "
            f"{'it' if len(idle) == 1 else 'them'} out, or choose the source that does"
        )
    if config.source == "untrained":
        require(config, "like", verb="import")
    if config.source == "timm":
        _preset(config)
    if config.source in ("timm", "openphenom"):
        _check_weights_given(config)
    if config.source != "untrained" and not config.like and not config.channels:
        raise UserError(
            f"import --source {config.source} needs the channels that it will read: --channels DNA,ER,... as "
            "the screen store names them, or --like ENCODER to take those of another encoder"
        )


def _check_weights_given(config: ImportConfig) -> None:
    if config.weights:
        return
    page = "recursionpharma/OpenPhenom"
    if config.source == "timm":
        page = f"timm/{_preset(config).timm_model}"
    raise UserError(
        f"import --source {config.source} needs --weights, a local file: phenoscale never downloads. Where "
        f"there is a network, `hf download {page} model.safetensors --local-dir .` fetches it from the hub's "
        f"page {page}; mind its license"
    )


def _preset(config: ImportConfig) -> TimmPreset:
    if bool(config.preset) == bool(config.timm_model):
        raise UserError(
            f"import --source timm needs one of --timm_model and --preset, got {config.timm_model!r} and "
            f"{config.preset!r}; the presets are {', '.join(TIMM_PRESETS)}"
        )
    if config.timm_model:
        return TimmPreset(config.timm_model)
    if config.preset not in TIMM_PRESETS:
        raise UserError(f"there is no preset {config.preset!r}; choose one of {', '.join(TIMM_PRESETS)}")
    return TIMM_PRESETS[config.preset]


def _build(output: Output, *, config: ImportConfig, like: Path | None) -> Mapping[str, Any]:
    folder = output.folder
    encoder = _MAKERS[config.source](config, read_encoder_config(like) if like else None)
    place = save_encoder(folder / "encoder", encoder)
    return {
        "source": config.source,
        "architecture": encoder.config.describe(),
        "num_parameters": sum(parameter.numel() for parameter in encoder.weights.parameters()),
        "encoder_digest": encoder_digest(place),
    }


def _input(config: ImportConfig, like: EncoderConfig | None) -> dict[str, Any]:
    """What the encoder reads: the config's own fields, else those of the other encoder, else the defaults."""
    crop_size = like.crop_size if like else DEFAULT_CROP_SIZE
    scale = like.intensity_scale if like else DEFAULT_INTENSITY_SCALE
    return {
        "channels": config.channels or (like.channels if like else ()),
        "crop_size": config.crop_size or crop_size,
        "intensity_scale": config.intensity_scale or scale,
    }


def _untrained(config: ImportConfig, like: EncoderConfig | None) -> Encoder:
    assert like is not None, "an untrained encoder is like another one"
    return untrained_encoder(untrained_config(like, seed=config.seed))


def untrained_config(like: EncoderConfig, *, seed: int) -> EncoderConfig:
    """The config of the untrained twin; of a trimmed encoder it has all blocks again."""
    return dataclasses.replace(
        like,
        num_blocks=like.trimmed_from or like.num_blocks,
        trimmed_from=None,
        block=None,
        is_trained=False,
        num_training_crops=0,
        seed=seed,
        license="",
    )


def _pixel_statistics(config: ImportConfig, like: EncoderConfig | None) -> Encoder:
    return untrained_encoder(pixel_statistics_config(**_input(config, like)))


def _random_vectors(config: ImportConfig, like: EncoderConfig | None) -> Encoder:
    return untrained_encoder(random_vectors_config(dim=config.dim, seed=config.seed, **_input(config, like)))


def _timm(config: ImportConfig, like: EncoderConfig | None) -> Encoder:
    preset = _preset(config)
    described = timm_encoder_config(
        preset.timm_model,
        input_size=config.input_size or preset.input_size,
        pooling=config.pooling,
        apply_final_norm=config.final_norm,
        license=config.license or timm_license(preset.timm_model) or UNKNOWN_LICENSE,
        **_input(config, like),
    )
    return import_timm(described, read_released_weights(Path(config.weights)), source=config.weights)


def _openphenom(config: ImportConfig, like: EncoderConfig | None) -> Encoder:
    read = _input(config, like)
    return import_openphenom(
        read_released_weights(Path(config.weights)),
        source=config.weights,
        channels=read["channels"],
        crop_size=config.crop_size,
        intensity_scale=read["intensity_scale"],
        pooling=config.pooling,
        license=config.license or UNKNOWN_LICENSE,
    )


_MAKERS: dict[ImportSource, Callable[[ImportConfig, EncoderConfig | None], Encoder]] = {
    "untrained": _untrained,
    "pixel_statistics": _pixel_statistics,
    "random_vectors": _random_vectors,
    "timm": _timm,
    "openphenom": _openphenom,
}
