"""Self-standardization against torch's InstanceNorm2d, and its consequences."""

import pytest
import torch

from phenoscale.models.preprocess import standardize
from tests.support.encoders import raw_crops


@pytest.mark.parametrize("scale", [255.0, 65535.0])
def test_self_standardization_is_instance_norm_of_scaled_intensities(scale):
    crops = raw_crops(3).float() * (scale / 65535)
    reference = torch.nn.InstanceNorm2d(3, affine=False, track_running_stats=False)(crops / scale)
    torch.testing.assert_close(standardize(crops, intensity_scale=scale), reference, atol=1e-5, rtol=1e-5)


def test_epsilon_dampens_a_dim_channel_as_specified():
    crops = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    crops[:, :, ::2] = 1  # a standard deviation of half a gray level
    expected = 0.5 / 255 / (0.25 / 255**2 + 1e-5) ** 0.5
    result = standardize(crops, intensity_scale=255.0)
    torch.testing.assert_close(result.abs(), torch.full((1, 1, 8, 8), expected))


def test_a_constant_channel_becomes_zero():
    crops = torch.full((2, 2, 16, 16), 1000, dtype=torch.int32).to(torch.uint16)
    crops[:, 1] = 0
    result = standardize(crops, intensity_scale=65535.0)
    assert (result == 0).all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int32, torch.float64, torch.bfloat16])
def test_every_pixel_type_gives_the_same_float32_result(dtype):
    crops = raw_crops(2).to(torch.int32) % 128
    result = standardize(crops.to(dtype), intensity_scale=255.0)
    assert result.dtype == torch.float32
    assert torch.equal(result, standardize(crops, intensity_scale=255.0))
