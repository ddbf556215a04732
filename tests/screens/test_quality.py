"""Quality measures: closed forms, slow twins, and what blur, gain and noise do to them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenoscale.screens.quality import focus_score, measure_field
from tests.support.cells import draw_cells


def test_contrast_and_saturation_equal_their_definitions():
    pixels = np.random.default_rng(0).integers(0, 65536, (3, 40, 52), dtype=np.uint16)
    pixels[1, :10] = 65535
    measures = measure_field(pixels, saturation_level=0.9)
    for channel in range(3):
        ordered = np.sort(pixels[channel].ravel())
        top, median = (ordered[int(np.ceil(share * ordered.size)) - 1] for share in (0.999, 0.5))
        assert measures.background[channel] == float(median)
        assert measures.contrast[channel] == float(top) - float(median)
        assert measures.saturated_fraction[channel] == np.mean(pixels[channel] >= 0.9 * 65535)


def _slow_focus(pixels):
    """The same score from explicit block means and the law of total variance."""

    def block_means(size):
        blocks = pixels.astype(float).reshape(pixels.shape[0] // size, size, pixels.shape[1] // size, size)
        return blocks.mean(axis=(1, 3))

    variances = [block_means(size).var() for size in (1, 2, 4)]
    fine = variances[1] - variances[2] - (variances[0] - variances[1]) / 4
    return np.log2(fine / variances[2])


@pytest.mark.parametrize("seed", range(3))
def test_focus_equals_its_slow_twin(seed):
    pixels = draw_cells(seed)
    assert focus_score(pixels) == pytest.approx(_slow_focus(pixels), abs=1e-4)


def test_focus_falls_with_every_step_of_blur():
    scores = [focus_score(draw_cells(0, sigma=sigma)) for sigma in (0.0, 1.0, 2.0, 4.0)]
    assert all(after < before - 0.5 for before, after in pairwise(scores))


@given(st.integers(0, 20), st.floats(0.3, 3.0), st.floats(0, 2000))
def test_focus_ignores_stain_gain_and_background(seed, factor, shift):
    plain = focus_score(draw_cells(seed, noise=0.0))
    changed = focus_score(draw_cells(seed, noise=0.0, gain=8000 * factor, background=500 + shift))
    assert changed == pytest.approx(plain, abs=0.02)


def test_camera_noise_is_not_taken_for_fine_detail():
    noisy_blurred = focus_score(draw_cells(0, sigma=4.0, noise=300.0))
    sharp = focus_score(draw_cells(0, sigma=0.0, noise=20.0))
    assert noisy_blurred < sharp - 2


def test_a_constant_image_has_no_focus_and_no_contrast():
    measures = measure_field(np.full((2, 20, 20), 7, dtype=np.uint8), saturation_level=0.999)
    assert np.isnan(measures.focus).all()
    assert (measures.contrast == 0).all() and (measures.saturated_fraction == 0).all()
