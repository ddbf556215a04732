"""Self-standardization: every crop and channel to mean 0 and variance 1 on its own. science.md 3.

Shapes: B crops, C channels, H W pixels.
"""

import torch
from torch import Tensor

EPSILON = 1e-5  # defined for intensities divided by intensity_scale, i.e. between 0 and 1


def standardize(crops_BCHW: Tensor, *, intensity_scale: float) -> Tensor:
    """(x - mean) / sqrt(variance + 1e-5) of x = crops / intensity_scale, with biased variance, in float32.

    The division by the scale is folded into epsilon: it saves a pass over the pixels, the result is the same.
    """
    raw = crops_BCHW.float()
    variance, mean = torch.var_mean(raw, dim=(2, 3), correction=0, keepdim=True)
    return (raw - mean) * torch.rsqrt(variance + EPSILON * intensity_scale**2)
