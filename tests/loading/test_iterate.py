"""Iteration over whole fields: each crop once, in store order, field by field."""

import threading

import numpy as np
import pytest

from phenoscale.errors import UserError
from phenoscale.loading.fields import load_store_fields
from phenoscale.loading.iterate import iterate_fields, num_crops
from tests.support.screens import make_tiny_store


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
def test_every_crop_of_the_grid_comes_once_and_holds_its_pixels(fields, batch_size):
    batches = list(iterate_fields(fields, crop_size=16, batch_size=batch_size))
    assert all(len(batch.rows) == batch_size for batch in batches[:-1])
    rows = np.concatenate([batch.rows for batch in batches])
    corners = np.concatenate([batch.corners for batch in batches])
    crops = np.concatenate([batch.crops_BCHW for batch in batches])
    np.testing.assert_array_equal(rows, np.repeat(fields.in_store_order(), 4))
    assert corners[:4].tolist() == [[4, 4], [4, 20], [20, 4], [20, 20]]
    assert len(rows) == num_crops(fields, crop_size=16)
    for index in range(0, len(rows), 13):
        top, left = corners[index]
        pixels = fields.start_field(int(rows[index])).result()
        np.testing.assert_array_equal(crops[index], pixels[:, top : top + 16, left : left + 16])


def test_chosen_rows_come_in_store_order_with_one_center_crop_each(fields):
    chosen = np.array([40, 3, 17])
    (batch,) = iterate_fields(fields, crop_size=32, batch_size=8, layout="center", rows=chosen)
    assert batch.rows.tolist() == fields.in_store_order(chosen).tolist()
    assert batch.corners.tolist() == [[4, 4]] * 3
    assert num_crops(fields, crop_size=32, layout="center", rows=chosen) == 3


def test_stores_of_different_field_sizes_are_iterated_together(tmp_path):
    paths = [
        make_tiny_store(tmp_path / str(size), num_experiments=1, num_plates=1, size=size, seed=size)
        for size in (40, 72)
    ]
    fields = load_store_fields(paths)
    counts = np.zeros(len(fields), dtype=int)
    for batch in iterate_fields(fields, crop_size=32, batch_size=5):
        counts += np.bincount(batch.rows, minlength=len(fields))
    assert counts.tolist() == [1] * 11 + [4] * 11
    assert num_crops(fields, crop_size=32) == counts.sum()


def test_leaving_the_iteration_early_stops_its_thread(fields):
    batches = iterate_fields(fields, crop_size=16, batch_size=2)
    next(batches)
    batches.close()
    assert [thread for thread in threading.enumerate() if thread.name == "field reader"] == []


def test_a_crop_larger_than_the_field_is_a_user_error_before_anything_is_read(fields):
    with pytest.raises(UserError, match="holds no crop of 64 px"):
        iterate_fields(fields, crop_size=64, batch_size=2)
    with pytest.raises(UserError, match="the outer ring is dropped"):
        iterate_fields(fields, crop_size=16, batch_size=2, layout="inner")
