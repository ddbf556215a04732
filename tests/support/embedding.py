"""Small encoders that fit the small screens, on disk."""

from phenoscale.models.encoder import save_encoder, untrained_encoder
from phenoscale.models.pixel_statistics import pixel_statistics_config
from phenoscale.schema.encoders import EncoderConfig
from tests.support.screens import CHANNELS

INTENSITY_SCALE = 65535.0


def tiny_encoder_config(**changes):
    settings = {
        "architecture": "vit",
        "channels": CHANNELS[:3],
        "crop_size": 16,
        "patch_size": 8,
        "embedding_dim": 16,
        "num_blocks": 3,
        "num_heads": 2,
        "intensity_scale": INTENSITY_SCALE,
    }
    return EncoderConfig(**{**settings, **changes})


def save_tiny_encoder(folder, **changes):
    """Write an untrained transformer of three blocks into `folder` and return its path."""
    return save_encoder(folder, untrained_encoder(tiny_encoder_config(**changes)))


def save_pixel_statistics(folder, *, channels=CHANNELS[:3], crop_size=16):
    """Write the pixel-statistics baseline into `folder` and return its path."""
    config = pixel_statistics_config(tuple(channels), crop_size=crop_size, intensity_scale=INTENSITY_SCALE)
    return save_encoder(folder, untrained_encoder(config))
