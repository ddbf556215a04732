"""Self-standardization: every crop and channel to mean 0 and variance 1 on its own. science.md 3.

Shapes: B crops, C channels, H W pixels, P = H * W.
"""

import torch
from torch import Tensor

EPSILON = 1e-5  # defined for intensities divided by intensity_scale, i.e. between 0 and 1


def standardize(crops_BCHW: Tensor, *, intensity_scale: float) -> Tensor:
    """(x - mean) / sqrt(variance + 1e-5) of x = crops / intensity_scale, with biased variance, in float32.

    The division by the scale is folded into epsilon: it saves a pass over the pixels, the result is the same.
    """
    pixels_BCP = crops_BCHW.flatten(2).float()
    centered_BCP = pixels_BCP - pixels_BCP.mean(dim=2, keepdim=True)
    variance = centered_BCP.square().mean(dim=2, keepdim=True)
    return (centered_BCP * torch.rsqrt(variance + EPSILON * intensity_scale**2)).view(crops_BCHW.shape)
