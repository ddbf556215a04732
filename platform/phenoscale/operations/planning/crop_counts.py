"""How much a step has to do, counted from the manifest and the crop grid before anything is read."""

from __future__ import annotations

from phenoscale.config import Config
from phenoscale.inference.config import EmbedConfig
from phenoscale.loading.fields import open_fields
from phenoscale.loading.iterate import num_crops
from phenoscale.probing.config import ProbeConfig
from phenoscale.schema.encoders import read_encoder_config
from phenoscale.schema.manifest import read_manifest
from phenoscale.training.config import PretrainConfig


def count_crops(config: Config) -> int | None:
    """Crops that go through an encoder in a step; None for a step without an encoder."""
    if isinstance(config, PretrainConfig):
        return training_crops(config)
    if isinstance(config, EmbedConfig) and config.manifest:
        return _crops_of_all_fields(config.manifest, encoder=config.encoder, layout_of=config)
    if isinstance(config, ProbeConfig):
        each = _crops_of_all_fields(config.manifest, encoder=config.encoder, layout_of=config)
        return each * (1 + len(config.baselines))
    return None


def training_crops(config: PretrainConfig) -> int:
    """Crops that a training sees: steps times the global minibatch."""
    trained = config.as_trained()
    if trained.num_steps is not None:
        return trained.num_steps * trained.global_batch
    num_fields = read_manifest(config.manifest).count("train")
    num_steps = max(1, round(trained.num_epochs * num_fields / trained.global_batch))
    return num_steps * trained.global_batch


def _crops_of_all_fields(manifest: str, *, encoder: str, layout_of: EmbedConfig | ProbeConfig) -> int:
    size = read_encoder_config(encoder).crop_size
    return num_crops(
        open_fields(manifest=manifest, absent="zero"), crop_size=size, layout=layout_of.crop_layout
    )
