"""The baseline without weights: five statistics of raw intensities per channel. science.md 1.1.

Shapes: B minibatch, C channels, H W pixels, D = 5 * C dimensions.
"""

from typing import Any

import torch
from torch import Tensor, nn

from phenoscale.schema.encoders import PIXEL_STATISTICS, EncoderConfig


class PixelStatistics(nn.Module):
    """Mean, standard deviation, minimum, maximum and median of each channel of intensities / intensity_scale.

    The order is channel by channel, and within a channel mean, std (biased), minimum, maximum, median (the
    lower of the middle two pixels). Nothing is standardized: intensity is what this baseline sees.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        assert config.architecture == "pixel_statistics", f"not pixel statistics: {config.architecture}"
        self.config = config

    @property
    def num_blocks(self) -> int:
        """One readable block."""
        return 1

    @property
    def weights(self) -> nn.Module:
        """Nothing: there are no weights."""
        return self

    def initialize(self, generator: torch.Generator) -> None:
        """Nothing is drawn: there are no weights."""

    def compile_blocks(self, backend: Any = "inductor") -> None:
        """Nothing is compiled: there are no blocks."""

    @torch.no_grad()
    def embed_blocks(self, crops_BCHW: Tensor) -> Tensor:
        """The statistics as the one block there is: [1, B, D]."""
        return self.embed(crops_BCHW)[None]

    @torch.no_grad()
    def embed(self, crops_BCHW: Tensor) -> Tensor:
        """Statistics of raw crops: [B, 5 * C], float32."""
        pixels = crops_BCHW.flatten(2).float() / self.config.intensity_scale
        variance, mean = torch.var_mean(pixels, dim=2, correction=0)
        minimum, maximum = pixels.aminmax(dim=2)
        statistics_BCS = torch.stack(
            [mean, variance.sqrt(), minimum, maximum, pixels.median(dim=2).values], dim=2
        )
        return statistics_BCS.flatten(1)


def pixel_statistics_config(
    channels: tuple[str, ...], *, crop_size: int, intensity_scale: float
) -> EncoderConfig:
    """The config of the pixel-statistics baseline for a set of channels."""
    return EncoderConfig(
        architecture="pixel_statistics",
        channels=channels,
        crop_size=crop_size,
        embedding_dim=len(PIXEL_STATISTICS) * len(channels),
        intensity_scale=intensity_scale,
        pooling="statistics",
        standardize=False,
    )
