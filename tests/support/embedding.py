"""Small encoders that fit the small screens, on disk."""

from phenoscale.models.densenet_encoder import densenet_encoder_config
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


def save_channel_agnostic(folder, **changes):
    """Write an untrained transformer that reads up to six channels into `folder` and return its path."""
    settings = {"architecture": "channel_agnostic_vit", "channels": ("DNA",), "max_channels": 6, **changes}
    return save_tiny_encoder(folder, **settings)


def save_adabn(folder, *, channels=CHANNELS[:3], ghost_batch=4):
    """Write an untrained DenseNet with batch-norm statistics of the plate into `folder`; return its path."""
    config = densenet_encoder_config(
        "dense-tiny",
        crop_size=32,
        neck_dim=8,
        ghost_batch=ghost_batch,
        channels=tuple(channels),
        intensity_scale=INTENSITY_SCALE,
    )
    return save_encoder(folder, untrained_encoder(config))
