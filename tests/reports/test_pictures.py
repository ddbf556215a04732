"""Reconstruction pictures."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from phenoscale.reports.figures.palette import stain_color
from phenoscale.reports.pictures import contrast, false_color, picture_uri, reconstruction_gallery
from tests.reports.conftest import Reported


def test_a_stain_alone_shows_its_own_color() -> None:
    image = np.zeros((2, 8, 8), np.float32)
    image[1, :4] = 1.0
    low, high = np.zeros((2, 1, 1), np.float32), np.ones((2, 1, 1), np.float32)
    shown = false_color(image, low=low, high=high, channels=("DNA", "ER"))
    assert (shown[4:] == 0).all()
    color = np.array(stain_color("ER"))
    assert shown[0, 0].argmax() == color.argmax()
    assert shown.max() <= 1


def test_stains_that_overlap_do_not_burn_out_to_white() -> None:
    image = np.ones((5, 4, 4), np.float32)
    low, high = np.zeros((5, 1, 1), np.float32), np.ones((5, 1, 1), np.float32)
    shown = false_color(image, low=low, high=high, channels=("DNA", "ER", "RNA", "AGP", "Mito"))
    assert shown.max() == 1
    assert shown.min() < 0.95


def test_contrast_comes_from_the_original_and_survives_a_constant_channel() -> None:
    original = np.stack([np.linspace(0, 100, 64).reshape(8, 8), np.full((8, 8), 3.0)]).astype(np.float32)
    low, high = contrast(original)
    assert 4 < low[0, 0, 0] < 6
    assert high[0, 0, 0] > 98
    assert high[1, 0, 0] > low[1, 0, 0]


def test_a_picture_is_enlarged_by_a_whole_factor() -> None:
    uri = picture_uri(np.random.default_rng(0).random((64, 64, 3)))
    content = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))
    assert Image.open(io.BytesIO(content)).size == (192, 192)


def test_the_gallery_shows_as_many_crops_as_asked_spread_over_the_file(reported: Reported) -> None:
    file = reported.outputs.pretrain / "reconstructions.npz"
    html, channels = reconstruction_gallery(file, num_shown=3)
    assert html.count("<img") == 9
    assert channels == ("DNA", "ER", "RNA", "AGP", "Mito")
    assert "negative control" in html
    assert "GENE0004" in html


def test_the_error_is_measured_on_hidden_patches_only(tmp_path: Path) -> None:
    original = np.ones((1, 1, 16, 16), np.float16)
    original[..., :8, :] = -1
    masked = np.where(np.arange(16)[:, None] < 8, original, 0)
    reconstruction = np.where(np.arange(16)[:, None] < 8, original, original + 0.5)
    file = tmp_path / "reconstructions.npz"
    np.savez(
        file,
        original=original,
        masked=masked,
        reconstruction=reconstruction,
        labels=np.array(["x"]),
        field_ids=np.array(["f"]),
        channels=np.array(["DNA"]),
    )
    assert "error on hidden patches 0.25" in reconstruction_gallery(file, num_shown=1)[0]
