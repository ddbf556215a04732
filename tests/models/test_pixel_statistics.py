"""The pixel-statistics baseline against numpy."""

import numpy as np
import pytest
import torch

from phenoscale.models.encoder import load_encoder, save_encoder
from phenoscale.models.pixel_statistics import PixelStatistics, pixel_statistics_config
from tests.support.encoders import CHANNELS, raw_crops


def statistics():
    return PixelStatistics(pixel_statistics_config(CHANNELS, crop_size=32, intensity_scale=65535.0))


def test_five_statistics_per_channel_in_the_documented_order():
    crops = raw_crops(4)
    found = statistics().embed(crops)
    assert found.shape == (4, 15)
    for row in range(4):
        expected = []
        for channel in range(3):
            pixels = np.sort(crops[row, channel].numpy().ravel() / 65535.0)
            lower_median = pixels[len(pixels) // 2 - 1]
            expected += [pixels.mean(), pixels.std(), pixels.min(), pixels.max(), lower_median]
        np.testing.assert_allclose(found[row], expected, rtol=1e-5)


def test_the_one_block_is_the_embedding():
    crops = raw_crops(3)
    encoder = statistics()
    assert encoder.num_blocks == 1
    assert torch.equal(encoder.embed_blocks(crops)[0], encoder.embed(crops))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_raw_pixel_types_are_read_without_conversion(dtype):
    crops = (raw_crops(2).to(torch.int32) % 200).to(dtype)
    assert torch.equal(statistics().embed(crops), statistics().embed(crops.float()))


def test_baseline_is_saved_and_loaded_through_the_same_door(tmp_path):
    save_encoder(tmp_path, statistics())
    loaded = load_encoder(tmp_path)
    crops = raw_crops(2)
    assert loaded.config == statistics().config
    assert torch.equal(loaded.embed(crops), statistics().embed(crops))
    assert "None: this is a baseline without weights." in (tmp_path / "card.md").read_text()
