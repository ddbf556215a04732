"""Quality measures: closed forms, slow twins, and what blur, gain and noise do to them."""

from itertools import pairwise

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from phenoscale.curation.config import QualityConfig
from phenoscale.curation.quality import flag_plate, focus_score, measure_field

RULES = QualityConfig()


def _cells(seed, *, size=96, sigma=0.0, gain=8000.0, background=500.0, noise=20.0):
    """Spots of several widths on a flat ground, blurred by `sigma` pixels; the camera adds noise."""
    rng = np.random.default_rng(seed)
    image = np.zeros((size, size))
    for width, number in ((1.0, 60), (2.5, 25), (6.0, 8)):
        spots = np.zeros((size, size))
        spots[rng.integers(0, size, number), rng.integers(0, size, number)] = 1.0
        spots = gaussian_filter(spots, width)
        image += spots / spots.max()
    image = gaussian_filter(image, sigma) if sigma else image
    pixels = background + gain * image + noise * rng.standard_normal((size, size))
    return np.clip(pixels, 0, 65535).astype(np.uint16)


def test_contrast_and_saturation_equal_their_definitions():
    pixels = np.random.default_rng(0).integers(0, 65536, (3, 40, 52), dtype=np.uint16)
    pixels[1, :10] = 65535
    measures = measure_field(pixels, saturation_level=0.9)
    for channel in range(3):
        ordered = np.sort(pixels[channel].ravel())
        top, median = (ordered[int(np.ceil(share * ordered.size)) - 1] for share in (0.999, 0.5))
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
    pixels = _cells(seed)
    assert focus_score(pixels) == pytest.approx(_slow_focus(pixels), abs=1e-4)


def test_focus_falls_with_every_step_of_blur():
    scores = [focus_score(_cells(0, sigma=sigma)) for sigma in (0.0, 1.0, 2.0, 4.0)]
    assert all(after < before - 0.5 for before, after in pairwise(scores))


@given(st.integers(0, 20), st.floats(0.3, 3.0), st.floats(0, 2000))
def test_focus_ignores_stain_gain_and_background(seed, factor, shift):
    plain = focus_score(_cells(seed, noise=0.0))
    changed = focus_score(_cells(seed, noise=0.0, gain=8000 * factor, background=500 + shift))
    assert changed == pytest.approx(plain, abs=0.02)


def test_camera_noise_is_not_taken_for_fine_detail():
    noisy_blurred = focus_score(_cells(0, sigma=4.0, noise=300.0))
    sharp = focus_score(_cells(0, sigma=0.0, noise=20.0))
    assert noisy_blurred < sharp - 2


def test_a_constant_image_has_no_focus_and_no_contrast():
    measures = measure_field(np.full((2, 20, 20), 7, dtype=np.uint8), saturation_level=0.999)
    assert np.isnan(measures.focus).all()
    assert (measures.contrast == 0).all() and (measures.saturated_fraction == 0).all()


def _flags(fields, rules=RULES):
    measures = [measure_field(pixels, saturation_level=rules.saturation_level) for pixels in fields]
    return flag_plate(
        np.stack([m.contrast for m in measures]),
        np.stack([m.saturated_fraction for m in measures]),
        focus_NC=np.stack([m.focus for m in measures]),
        rules=rules,
    )


def _plate(num_fields=24):
    return [np.stack([_cells(2 * seed), _cells(2 * seed + 1)]) for seed in range(num_fields)]


def test_an_even_plate_has_no_flags():
    flags = _flags(_plate())
    assert not (flags.is_empty | flags.is_saturated | flags.is_out_of_focus).any()


def test_planted_empty_saturated_and_blurred_fields_are_flagged_and_only_they():
    fields = _plate()
    ground = 500 + 20 * np.random.default_rng(5).standard_normal((2, 96, 96))
    fields[3] = ground.astype(np.uint16)
    fields[7] = fields[7].copy()
    fields[7][1, :20] = 65535
    fields[11] = np.stack([_cells(22, sigma=3.0), _cells(23, sigma=3.0)])
    fields[15] = np.zeros_like(fields[15])
    flags = _flags(fields)
    assert np.flatnonzero(flags.is_empty).tolist() == [3, 15]
    assert np.flatnonzero(flags.is_saturated).tolist() == [7]
    assert np.flatnonzero(flags.is_out_of_focus).tolist() == [11]
    assert np.isnan(flags.focus_loss[[3, 7, 15]]).all()


def test_a_field_with_signal_in_one_channel_is_not_empty():
    fields = _plate()
    fields[2] = np.stack([fields[2][0], np.full((96, 96), 500, dtype=np.uint16)])
    assert not _flags(fields).is_empty.any()


def test_each_rule_can_be_turned_off():
    fields = _plate()
    fields[0] = np.zeros_like(fields[0])
    fields[1] = np.full_like(fields[1], 65535)
    fields[2] = np.stack([_cells(4, sigma=4.0), _cells(5, sigma=4.0)])
    off = QualityConfig(min_relative_contrast=None, max_saturated_fraction=None, max_focus_deviation=None)
    flags = _flags(fields, rules=off)
    assert not (flags.is_empty | flags.is_saturated | flags.is_out_of_focus).any()


def test_a_plate_of_few_fields_is_not_judged_for_focus():
    fields = [*_plate(6), np.stack([_cells(4, sigma=4.0), _cells(5, sigma=4.0)])]
    assert not _flags(fields).is_out_of_focus.any()
    assert _flags(fields, rules=QualityConfig(min_fields_per_plate=7)).is_out_of_focus.tolist() == [
        False
    ] * 6 + [True]


def test_a_plate_of_nothing_but_empty_fields_is_empty_without_a_warning():
    assert _flags([np.zeros((2, 20, 20), dtype=np.uint16)] * 10).is_empty.all()


def test_of_real_crops_hardly_one_in_a_hundred_is_flagged(real_data):
    folder = real_data("bbbc021_singlecell_crops")
    num_flagged, num_crops = 0, 0
    for stack in sorted((folder / "stacks").glob("*.tif"))[:30]:
        crops = tifffile.imread(stack)
        flags = _flags(crops)
        num_flagged += int((flags.is_empty | flags.is_saturated | flags.is_out_of_focus).sum())
        num_crops += len(crops)
        # a crop that is called empty is nearly black: a dim ground of a 12-bit camera (stored times 16)
        assert (crops[flags.is_empty].max(axis=(1, 2, 3), initial=0) < 100 * 16).all()
    assert num_flagged < 0.015 * num_crops
