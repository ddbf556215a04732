"""Iteration over whole fields: each crop once, in store order field by field, or in groups of one plate."""

import hashlib
import threading

import numpy as np
import pytest

from phenoscale.errors import UserError
from phenoscale.loading.fields import open_fields
from phenoscale.loading.iterate import NO_ROW, crops_per_field, iterate_fields, iterate_groups, num_crops
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
    fields = open_fields(stores=paths)
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


def grouped(fields, *, group_size=4, batch_size=8, crop_size=16, **changes):
    return list(
        iterate_groups(fields, crop_size=crop_size, batch_size=batch_size, group_size=group_size, **changes)
    )


def test_groups_hold_every_crop_once_and_crops_of_different_fields_of_one_plate(fields):
    batches = grouped(fields)
    rows = np.concatenate([batch.rows for batch in batches])
    corners = np.concatenate([batch.corners for batch in batches])
    crops = np.concatenate([batch.crops_BCHW for batch in batches])
    keys = [(row, *corner) for row, corner in zip(rows.tolist(), corners.tolist(), strict=True) if row >= 0]
    expected = [(row, top, left) for row in range(len(fields)) for top in (4, 20) for left in (4, 20)]
    assert sorted(keys) == expected
    # 11 fields of each of 4 plates make 3 groups of 4: one crop comes again for each place in the grid
    assert (rows == NO_ROW).sum() == 4 * 4
    for group in rows.reshape(-1, 4):
        inside = group[group != NO_ROW]
        assert len(set(inside)) == len(inside)
        assert len(set(fields.plates[inside])) == 1
    for index in range(0, len(rows), 11):
        top, left = corners[index]
        if rows[index] != NO_ROW:
            pixels = fields.start_field(int(rows[index])).result()
            np.testing.assert_array_equal(crops[index], pixels[:, top : top + 16, left : left + 16])


def test_fields_of_a_plate_come_in_the_order_of_hashes_and_its_first_ones_complete_the_last_group(fields):
    names = fields.frame["field_id"]
    mine = np.flatnonzero(fields.plates == 2).tolist()
    order = sorted(mine, key=lambda row: hashlib.sha256(names[row].encode()).hexdigest())
    assert order != mine
    batches = grouped(fields, rows=np.array(mine), layout="center", batch_size=4)
    assert [batch.rows.tolist() for batch in batches] == [order[:4], order[4:8], [*order[8:], NO_ROW]]
    first = fields.start_field(order[0]).result()[:, 12:28, 12:28]
    np.testing.assert_array_equal(batches[-1].crops_BCHW[3], first)


@pytest.mark.parametrize("batch_size", [4, 12, 400])
def test_groups_depend_neither_on_order_nor_on_other_plates_nor_on_the_batch_size(fields, batch_size):
    plate = np.flatnonzero(fields.plates == 1)
    alone = np.concatenate([batch.crops_BCHW for batch in grouped(fields, rows=plate)])
    shuffled = np.random.default_rng(1).permutation(len(fields))
    batches = grouped(fields, rows=shuffled, batch_size=batch_size)
    for batch in batches:
        assert len(set(fields.plates[batch.rows[batch.rows != NO_ROW]])) == 1
    together = [batch.crops_BCHW for batch in batches if fields.plates[batch.rows[0]] == 1]
    np.testing.assert_array_equal(np.concatenate(together), alone)


def test_a_plate_smaller_than_a_group_is_repeated_to_fill_it(fields):
    rows = np.flatnonzero(fields.plates == 0)[:3]
    (batch,) = grouped(fields, rows=rows, group_size=8, layout="center")
    assert sorted(batch.rows[:3]) == rows.tolist()
    assert (batch.rows[3:] == NO_ROW).all()
    np.testing.assert_array_equal(batch.crops_BCHW, batch.crops_BCHW[np.arange(8) % 3])


def test_a_plate_of_one_field_has_no_statistics(fields):
    with pytest.raises(UserError, match=r"field \w{20} .* is the only one of its plate.*at least 2 fields"):
        grouped(fields, rows=np.array([0, 15, 16]))


def test_crops_are_counted_field_by_field(tmp_path):
    paths = [
        make_tiny_store(tmp_path / str(size), num_experiments=1, num_plates=1, size=size, seed=size)
        for size in (72, 40)
    ]
    fields = open_fields(stores=paths)
    counts = crops_per_field(fields, crop_size=32, rows=np.array([0, 20, 1]))
    assert counts.tolist() == [4, 1, 4]
