"""Manifest fields: joined in manifest order, read from unchanged stores only."""

import dataclasses
import shutil

import numpy as np
import pytest

from phenoscale.errors import UserError
from phenoscale.loading.fields import load_manifest_fields, load_store_fields, select_rows
from phenoscale.schema.manifest import read_manifest, write_manifest
from phenoscale.screens.store import open_screen
from tests.support.screens import make_tiny_manifest, make_tiny_store


def test_fields_carry_their_well_columns_split_and_place_in_manifest_order(tmp_path, manifest):
    original = read_manifest(manifest)
    shuffled = original.fields.sample(frac=1.0, random_state=3).reset_index(drop=True)
    write_manifest(tmp_path, dataclasses.replace(original, fields=shuffled))
    fields = load_manifest_fields(tmp_path)
    assert fields.frame["field_id"].tolist() == shuffled["field_id"].tolist()
    assert fields.frame["split"].tolist() == shuffled["split"].tolist()
    assert {"perturbation", "experiment", "plate_index", "field_index"} <= set(fields.frame.columns)
    wells = open_screen(original.stores[0].uri).wells.set_index("field_id")
    chosen = wells.loc[fields.frame["field_id"]]
    assert fields.frame["perturbation"].tolist() == chosen["perturbation"].tolist()
    assert fields.frame["field_index"].tolist() == chosen["field_index"].tolist()


def test_pixels_are_those_of_the_store(fields, store):
    opened = open_screen(store)
    for row in (0, 7, len(fields) - 1):
        place = fields.frame.iloc[row]
        expected = opened.read(int(place["plate_index"]), int(place["field_index"]))
        np.testing.assert_array_equal(fields.start_field(row).result(), expected)
        crop = fields.start_crop(row, top=3, left=5, size=16).result()
        np.testing.assert_array_equal(crop, expected[:, 3:19, 5:21])


def test_channels_can_be_chosen_and_reordered_by_name(manifest, fields):
    chosen = load_manifest_fields(manifest, channels=["RNA", "DNA"])
    assert chosen.channels == ("RNA", "DNA")
    whole = fields.start_field(2).result()
    np.testing.assert_array_equal(chosen.start_field(2).result(), whole[[2, 0]])
    assert chosen.num_bytes(2) == 2 * 40 * 40 * 2


def test_an_unknown_channel_is_a_user_error(manifest):
    with pytest.raises(UserError, match="unknown channel 'Golgi'; the known channels are DNA, ER, RNA"):
        load_manifest_fields(manifest, channels=["Golgi"])


def test_splits_are_rows_of_the_frame_and_an_empty_one_is_a_user_error(fields):
    train, validation = fields.rows("train"), fields.rows("validation")
    assert set(fields.frame["experiment"].iloc[train]) == {"E1"}
    assert set(fields.frame["experiment"].iloc[validation]) == {"E2"}
    assert len(train) + len(validation) == len(fields)
    with pytest.raises(UserError, match="no field in split 'test'"):
        fields.rows("test")


def test_store_order_is_plate_by_plate_and_field_by_field(fields):
    rows = np.random.default_rng(0).permutation(len(fields))
    ordered = fields.frame.iloc[fields.in_store_order(rows)]
    places = list(zip(ordered["store"], ordered["plate_index"], ordered["field_index"], strict=True))
    assert places == sorted(places)
    assert len(places) == len(fields)


def test_a_store_that_changed_since_the_manifest_was_made_is_refused(tmp_path):
    store = make_tiny_store(tmp_path / "store", num_experiments=1, num_plates=1)
    manifest = make_tiny_manifest(tmp_path / "manifest", store, validation_experiments=())
    shutil.rmtree(store)
    make_tiny_store(store, num_experiments=1, num_plates=1, seed=1)
    with pytest.raises(UserError, match="the store has changed since; run `phenoscale curate` again"):
        load_manifest_fields(manifest)


def test_stores_of_different_pixel_types_are_refused(tmp_path):
    first = make_tiny_store(tmp_path / "a", num_experiments=1, num_plates=1)
    second = make_tiny_store(tmp_path / "b", num_experiments=1, num_plates=1, dtype="uint8")
    with pytest.raises(UserError, match="one encoder needs one scale"):
        load_store_fields([first, second])


def test_several_stores_are_read_as_one(tmp_path):
    first = make_tiny_store(tmp_path / "a", num_experiments=1, num_plates=1, size=40)
    second = make_tiny_store(tmp_path / "b", num_experiments=1, num_plates=2, size=48, seed=1)
    fields = load_store_fields([first, second])
    last = len(fields) - 1
    assert fields.start_field(0).result().shape == (3, 40, 40)
    np.testing.assert_array_equal(
        fields.start_field(last).result(), open_screen(second).read(1, int(fields.frame["field_index"][last]))
    )
    some = select_rows(fields, np.array([last, 0]))
    assert some.heights.tolist() == [48, 40]


def test_no_store_at_all_is_a_user_error():
    with pytest.raises(UserError, match="no store was given"):
        load_store_fields([])


def test_a_crop_larger_than_the_smallest_field_is_a_user_error(fields):
    fields.check_crop_size(40)
    with pytest.raises(UserError, match="a field of 40 x 40 px holds no crop of 41 px"):
        fields.check_crop_size(41)


def test_a_damaged_chunk_is_a_user_error_that_names_the_field(tmp_path):
    store = make_tiny_store(tmp_path / "store", num_experiments=1, num_plates=1)
    damage_field(store, 2)
    fields = load_store_fields([store])
    with pytest.raises(UserError, match=r"experiment E1, plate P1, well .* cannot be decoded"):
        fields.start_field(2).result()


def damage_field(store, index):
    """Overwrite the middle of one field's shard."""
    (shard,) = [file for file in store.rglob(f"c.{index}.0.0.0") if file.is_file()]
    content = bytearray(shard.read_bytes())
    content[10 : len(content) // 2] = b"\xff" * (len(content) // 2 - 10)
    shard.write_bytes(bytes(content))
