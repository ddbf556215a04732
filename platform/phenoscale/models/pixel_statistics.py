"""The baseline without weights: five statistics of raw intensities per channel. science.md 1.1.

Shapes: B minibatch, C channels, H W pixels, D = 5 * C dimensions.
"""

import torch
from torch import Tensor

from phenoscale.models.readout import WeightlessEncoder
from phenoscale.schema.encoders import PIXEL_STATISTICS, EncoderConfig


class PixelStatistics(WeightlessEncoder):
    """Mean, standard deviation, minimum, maximum and median of each channel of intensities / intensity_scale.

    The order is channel by channel, and within a channel mean, std (biased), minimum, maximum, median (the
    lower of the middle two pixels). Nothing is standardized: intensity is what this baseline sees.
    """

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
