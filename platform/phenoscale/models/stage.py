"""The `import` verb: baselines as encoders, through the same door as trained ones."""

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from phenoscale.config import require
from phenoscale.models.config import ImportConfig
from phenoscale.models.encoder import save_encoder, untrained_encoder
from phenoscale.models.pixel_statistics import pixel_statistics_config
from phenoscale.schema.encoders import EncoderConfig, encoder_digest, encoder_folder, read_encoder_config
from phenoscale.stages import Observer, StageResult, ignore, run_stage


def run_import(config: ImportConfig, *, observe: Observer = ignore) -> StageResult:
    """Write the baseline into `encoder/` of the stage's output."""
    like = encoder_folder(require(config, "like", verb="import"))
    result = run_stage(
        "import",
        entry=__name__,
        config=config,
        inputs={"like": like},
        build=partial(_build, config=config, like=like),
    )
    observe(0, {"num_parameters": float(result.summary["num_parameters"])})
    return result


def _build(folder: Path, *, config: ImportConfig, like: Path) -> Mapping[str, Any]:
    wanted = baseline_config(config, like=read_encoder_config(like))
    encoder = untrained_encoder(wanted)
    place = save_encoder(folder / "encoder", encoder)
    return {
        "source": config.source,
        "architecture": wanted.describe(),
        "num_parameters": sum(tensor.numel() for tensor in encoder.weights.state_dict().values()),
        "encoder_digest": encoder_digest(place),
    }


def baseline_config(config: ImportConfig, *, like: EncoderConfig) -> EncoderConfig:
    """The config of a baseline for an encoder; of a trimmed one the untrained twin has all blocks again."""
    if config.source == "pixel_statistics":
        return pixel_statistics_config(
            like.channels, crop_size=like.crop_size, intensity_scale=like.intensity_scale
        )
    return dataclasses.replace(
        like,
        num_blocks=like.trimmed_from or like.num_blocks,
        trimmed_from=None,
        block=None,
        is_trained=False,
        num_training_crops=0,
        seed=config.seed,
    )
