"""Encoders as the pipeline uses them: built, saved and loaded without pickles, cut at a block."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from phenoscale.errors import UserError
from phenoscale.models.ca_encoder import ChannelAgnosticEncoder
from phenoscale.models.card import write_card
from phenoscale.models.densenet_encoder import DenseNetEncoder
from phenoscale.models.mu_net_encoder import MuNetEncoder
from phenoscale.models.pixel_statistics import PixelStatistics
from phenoscale.models.random_vectors import RandomVectors
from phenoscale.models.readout import Encoder
from phenoscale.models.timm_encoder import TimmEncoder
from phenoscale.models.vit import seeded
from phenoscale.models.vit_encoder import VitEncoder
from phenoscale.models.weights import load_weights, read_weights, write_weights
from phenoscale.schema.encoders import (
    WEIGHTS_FILE,
    Architecture,
    EncoderConfig,
    encoder_folder,
    read_encoder_config,
    write_encoder_config,
)

# How each architecture is built from its config, with weights that still have to be loaded or drawn.
ENCODERS: dict[Architecture, Callable[[EncoderConfig], Encoder]] = {
    "vit": VitEncoder,
    "channel_agnostic_vit": ChannelAgnosticEncoder,
    "mu_net": MuNetEncoder,
    "densenet": DenseNetEncoder,
    "timm": TimmEncoder,
    "random_vectors": RandomVectors,
    "pixel_statistics": PixelStatistics,
}


def build_encoder(config: EncoderConfig) -> Encoder:
    """The encoder that a config describes, set to evaluation; its weights have no meaning yet.

    Global random numbers are left as they were.
    """
    with torch.random.fork_rng(devices=[]):
        return ENCODERS[config.architecture](config).eval()


def encoder_of(trained: nn.Module, config: EncoderConfig) -> Encoder:
    """An encoder with a copy of the weights of a trained module, whose parameters have the same names."""
    encoder = build_encoder(config)
    device = next(iter(trained.state_dict().values())).device
    encoder.weights.load_state_dict(trained.state_dict())
    return encoder.to(device)


def untrained_encoder(config: EncoderConfig) -> Encoder:
    """A fresh encoder with weights drawn from `config.seed`: the control for every claim about training."""
    fresh = build_encoder(dataclasses.replace(config, is_trained=False, num_training_crops=0))
    fresh.initialize(seeded(config.seed))
    return fresh


def trim_encoder(encoder: Encoder, block: int) -> Encoder:
    """The encoder without the blocks after `block`, which becomes its chosen one; embeddings stay bit-equal.

    Raises:
        UserError: there is no such block.
    """
    config = encoder.config
    if not 0 <= block < config.num_blocks:
        raise UserError(
            f"block {block} does not exist: this encoder has blocks 0 to {config.num_blocks - 1}; "
            "choose one of them"
        )
    if config.num_blocks == 1:
        return encoder
    trimmed = build_encoder(
        dataclasses.replace(
            config, num_blocks=block + 1, block=block, trimmed_from=config.trimmed_from or config.num_blocks
        )
    )
    names = trimmed.weights.state_dict().keys()
    whole = encoder.weights.state_dict()
    trimmed.weights.load_state_dict({name: whole[name] for name in names})
    return trimmed.to(next(iter(whole.values())).device)


def save_encoder(folder: str | Path, encoder: Encoder) -> Path:
    """Write encoder.safetensors, config.json and card.md into a folder and return it."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    write_weights(place / WEIGHTS_FILE, encoder.weights)
    write_encoder_config(place, encoder.config)
    num_parameters = sum(parameter.numel() for parameter in encoder.weights.parameters())
    write_card(place, encoder.config, num_parameters=num_parameters)
    return place


def load_encoder(folder: str | Path, *, device: str | torch.device = "cpu") -> Encoder:
    """Load an encoder folder, or the `encoder` folder inside a stage's output; needs no network and no GPU.

    Raises:
        UserError: no encoder there, or weights that do not fit the config.
    """
    place = encoder_folder(folder)
    config = read_encoder_config(place)
    encoder = build_encoder(config)
    tensors = read_weights(place / WEIGHTS_FILE)
    load_weights(encoder.weights, tensors, source=str(place / WEIGHTS_FILE), expected=config.describe())
    return encoder.to(device)
