"""Flags of fields: planted bad ones are found against their plate, and only they."""

import numpy as np
import tifffile

from phenoscale.curation.config import QualityConfig
from phenoscale.curation.flags import flag_plate
from phenoscale.screens.quality import measure_field
from tests.support.cells import draw_cells

RULES = QualityConfig()


def _flags(fields, rules=RULES):
    measures = [measure_field(pixels) for pixels in fields]
    return flag_plate(
        np.stack([m.contrast for m in measures]),
        np.stack([m.saturated_fraction for m in measures]),
        focus_NC=np.stack([m.focus for m in measures]),
        rules=rules,
    )


def _plate(num_fields=24):
    return [np.stack([draw_cells(2 * seed), draw_cells(2 * seed + 1)]) for seed in range(num_fields)]


def test_an_even_plate_has_no_flags():
    flags = _flags(_plate())
    assert not (flags.is_empty | flags.is_saturated | flags.is_out_of_focus).any()


def test_planted_empty_saturated_and_blurred_fields_are_flagged_and_only_they():
    fields = _plate()
    ground = 500 + 20 * np.random.default_rng(5).standard_normal((2, 96, 96))
    fields[3] = ground.astype(np.uint16)
    fields[7] = fields[7].copy()
    fields[7][1, :20] = 65535
    fields[11] = np.stack([draw_cells(22, sigma=3.0), draw_cells(23, sigma=3.0)])
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
    fields[2] = np.stack([draw_cells(4, sigma=4.0), draw_cells(5, sigma=4.0)])
    off = QualityConfig(min_relative_contrast=None, max_saturated_fraction=None, max_focus_deviation=None)
    flags = _flags(fields, rules=off)
    assert not (flags.is_empty | flags.is_saturated | flags.is_out_of_focus).any()


def test_a_plate_of_few_fields_is_not_judged_for_focus():
    fields = [*_plate(6), np.stack([draw_cells(4, sigma=4.0), draw_cells(5, sigma=4.0)])]
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
