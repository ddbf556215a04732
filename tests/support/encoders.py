"""A very small masked autoencoder and raw crops for it."""

import torch

from phenoscale.models.encoder import encoder_of
from phenoscale.models.mae import MaskedAutoencoder, MaskedAutoencoderConfig

CHANNELS = ("DNA", "ER", "AGP")


def tiny_mae_config(**changes):
    settings = {
        "num_channels": 3,
        "crop_size": 32,
        "patch_size": 8,
        "embedding_dim": 16,
        "num_blocks": 3,
        "num_heads": 2,
        "decoder_dim": 8,
        "decoder_blocks": 1,
        "decoder_heads": 2,
    }
    return MaskedAutoencoderConfig(**{**settings, **changes})


def tiny_encoder(*, seed=0, facts=None, **changes):
    mae = MaskedAutoencoder(tiny_mae_config(**changes), seed=seed)
    config = mae.encoder_config(channels=CHANNELS, intensity_scale=65535.0, seed=seed, **(facts or {}))
    return encoder_of(mae.encoder_weights, config)


def raw_crops(num_crops, *, seed=0, size=32, channels=3):
    generator = torch.Generator().manual_seed(seed)
    shape = (num_crops, channels, size, size)
    return torch.randint(0, 65536, shape, generator=generator, dtype=torch.int32).to(torch.uint16)


def noise(num_crops, *, num_tokens=16, seed=1):
    return torch.rand(num_crops, num_tokens, generator=torch.Generator().manual_seed(seed))
