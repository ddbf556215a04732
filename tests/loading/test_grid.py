"""Crop grids: the published counts, no overlap, centered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenoscale.errors import UserError
from phenoscale.loading.grid import center_crop, corners_of, crop_grid


def test_a_single_cell_field_of_68_px_has_one_centered_64_px_crop():
    assert crop_grid(68, 68, size=64) == [(2, 2)]


def test_a_2048_px_field_has_64_crops_and_36_without_the_outer_ring():
    assert len(crop_grid(2048, 2048, size=256)) == 64
    inner = crop_grid(2048, 2048, size=256, inner=True)
    assert len(inner) == 36
    assert inner[0] == (256, 256)
    assert inner[-1] == (1536, 1536)


def test_crops_of_a_rectangle_are_listed_row_by_row():
    assert crop_grid(130, 200, size=64) == [(1, 4), (1, 68), (1, 132), (65, 4), (65, 68), (65, 132)]


@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 100))
def test_crops_never_overlap_or_leave_the_field_and_as_many_as_possible_fit(height, width, size):
    if min(height, width) < size:
        with pytest.raises(UserError):
            crop_grid(height, width, size=size)
        return
    corners = crop_grid(height, width, size=size)
    assert len(corners) == (height // size) * (width // size)
    tops, lefts = zip(*corners, strict=True)
    assert min(tops) >= 0
    assert max(tops) + size <= height
    assert max(lefts) + size <= width
    assert len({(top // size, left // size) for top, left in corners}) == len(corners)
    assert abs(min(tops) - (height - max(tops) - size)) <= 1


def test_center_crop_is_the_only_crop_of_its_layout():
    assert center_crop(512, 300, size=256) == (128, 22)
    assert corners_of(512, 300, size=256, layout="center") == [(128, 22)]
    assert corners_of(512, 512, size=256, layout="grid") == crop_grid(512, 512, size=256)


def test_a_field_smaller_than_the_crop_is_a_user_error():
    with pytest.raises(UserError, match="a field of 60 x 68 px holds no crop of 64 px"):
        crop_grid(60, 68, size=64)
    with pytest.raises(UserError, match="choose a smaller crop_size"):
        center_crop(68, 60, size=64)


def test_an_inner_grid_with_nothing_left_is_a_user_error():
    with pytest.raises(UserError, match="the outer ring is dropped"):
        crop_grid(512, 512, size=256, inner=True)
