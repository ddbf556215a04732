"""Manifest fields: joined in manifest order, read from unchanged stores only."""

import dataclasses
import shutil

import numpy as np
import pytest

from phenoscale.errors import UserError
from phenoscale.loading.fields import open_fields, refuse_absent, select_rows
from phenoscale.schema.manifest import read_manifest, write_manifest
from phenoscale.screens.layout import array_path
from phenoscale.screens.store import open_screen
from tests.support.screens import make_tiny_manifest, make_tiny_store


def test_fields_carry_their_well_columns_split_and_place_in_manifest_order(tmp_path, manifest):
    original = read_manifest(manifest)
    shuffled = original.fields.sample(frac=1.0, random_state=3).reset_index(drop=True)
    write_manifest(tmp_path, dataclasses.replace(original, fields=shuffled))
    fields = open_fields(manifest=tmp_path)
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


def test_channels_can_be_chosen_and_reordered_by_name(fields):
    chosen = fields.reading(["RNA", "DNA"])
    assert chosen.channels == ("RNA", "DNA")
    whole = fields.start_field(2).result()
    np.testing.assert_array_equal(chosen.start_field(2).result(), whole[[2, 0]])
    assert chosen.num_bytes(2) == 2 * 40 * 40 * 2


def test_an_unknown_channel_is_a_user_error(fields):
    with pytest.raises(UserError, match="unknown channel 'Golgi'; the known channels are DNA, ER, RNA"):
        fields.reading(["Golgi"])


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
        open_fields(manifest=manifest)


def test_stores_of_different_pixel_types_are_refused(tmp_path):
    first = make_tiny_store(tmp_path / "a", num_experiments=1, num_plates=1)
    second = make_tiny_store(tmp_path / "b", num_experiments=1, num_plates=1, dtype="uint8")
    with pytest.raises(UserError, match="one encoder needs one scale"):
        open_fields(stores=[first, second])


def test_several_stores_are_read_as_one(tmp_path):
    first = make_tiny_store(tmp_path / "a", num_experiments=1, num_plates=1, size=40)
    second = make_tiny_store(tmp_path / "b", num_experiments=1, num_plates=2, size=48, seed=1)
    fields = open_fields(stores=[first, second])
    last = len(fields) - 1
    assert fields.start_field(0).result().shape == (3, 40, 40)
    np.testing.assert_array_equal(
        fields.start_field(last).result(), open_screen(second).read(1, int(fields.frame["field_index"][last]))
    )
    some = select_rows(fields, np.array([last, 0]))
    assert some.heights.tolist() == [48, 40]


@pytest.fixture(scope="module")
def mixed_stores(tmp_path_factory):
    """Three plates: DNA, ER and RNA; ER, DNA and AGP; DNA alone."""
    folder = tmp_path_factory.mktemp("mixed")
    stains = [("DNA", "ER", "RNA"), ("ER", "DNA", "AGP"), ("DNA",)]
    return [
        make_tiny_store(
            folder / str(n), num_experiments=1, num_plates=1, channels=names, seed=n, screen=f"screen{n}"
        )
        for n, names in enumerate(stains)
    ]


@pytest.fixture(scope="module")
def mixed(mixed_stores):
    return open_fields(stores=mixed_stores, absent="zero")


def test_stores_of_different_stains_are_read_as_their_union_with_zeros(mixed, mixed_stores):
    assert mixed.channels == ("DNA", "ER", "RNA", "AGP")
    assert mixed.present.astype(int).tolist() == [[1, 1, 1, 0], [1, 1, 0, 1], [1, 0, 0, 0]]
    blank = np.zeros((40, 40), dtype=np.uint16)
    for number, path in enumerate(mixed_stores):
        row = int(np.flatnonzero(mixed.frame["store"] == number)[3])
        stored = dict(zip(open_screen(path).channels, open_screen(path).read(0, 3), strict=True))
        expected = np.stack([stored.get(name, blank) for name in mixed.channels])
        np.testing.assert_array_equal(mixed.start_field(row).result(), expected)
        crop = mixed.start_crop(row, top=2, left=7, size=8).result()
        np.testing.assert_array_equal(crop, expected[:, 2:10, 7:15])


def test_rows_tell_their_channels_and_nothing_where_none_is_absent(mixed):
    assert mixed.present_of(np.array([0, 12, 30])).sum(axis=1).tolist() == [3, 3, 1]
    assert mixed.present_of(np.array([0, 1])) is not None
    shared = mixed.reading(["DNA"])
    assert shared.present_of(np.arange(len(mixed))) is None
    assert mixed.reading(["ER", "DNA"]).present_of(np.arange(22)) is None


def test_rows_part_by_the_channels_they_have_and_no_absent_one_is_read(mixed):
    rows = np.array([30, 0, 12, 1, 31])
    parts = {part.channels: mine.tolist() for part, mine in mixed.by_channels(rows)}
    assert parts == {("DNA",): [30, 31], ("DNA", "ER", "AGP"): [12], ("DNA", "ER", "RNA"): [0, 1]}
    for part, mine in mixed.by_channels(rows):
        assert part.present_of(mine) is None
    (whole,) = mixed.reading(["DNA"]).by_channels(rows)
    assert whole[1].tolist() == rows.tolist()


def test_an_absent_channel_is_a_user_error_unless_it_may_be_zero(mixed_stores):
    with pytest.raises(UserError) as refused:
        open_fields(stores=mixed_stores)
    for part in (str(mixed_stores[0]), "['DNA', 'ER', 'RNA']", "['AGP'] are absent", "channel-agnostic"):
        assert part in str(refused.value)
    mixed = open_fields(stores=mixed_stores, absent="zero")
    refuse_absent(mixed.reading(["DNA"]))
    with pytest.raises(UserError, match="unknown channel 'Golgi'; the known channels are DNA, ER, RNA, AGP"):
        mixed.reading(["Golgi"])


def test_a_channel_may_be_read_twice(fields):
    twice = fields.reading(["RNA", "DNA", "RNA"])
    whole = fields.start_field(4).result()
    np.testing.assert_array_equal(twice.start_field(4).result(), whole[[2, 0, 2]])


def test_a_plate_is_one_plate_in_whichever_stores_it_lies(mixed):
    joined = dataclasses.replace(mixed, frame=mixed.frame.assign(screen="one"))
    assert np.bincount(joined.plates).tolist() == [33]


def test_plates_of_equal_names_in_several_screens_are_told_apart(mixed, fields):
    assert np.bincount(mixed.plates).tolist() == [11, 11, 11]
    names = fields.frame["experiment"] + "/" + fields.frame["plate"]
    for plate in range(4):
        assert names[fields.plates == plate].nunique() == 1
    assert len(set(fields.plates)) == names.nunique() == 4


def test_no_store_at_all_is_a_user_error():
    with pytest.raises(UserError, match="no store was given"):
        open_fields(stores=[])


def test_a_crop_larger_than_the_smallest_field_is_a_user_error(fields):
    fields.check_crop_size(40)
    with pytest.raises(UserError, match="a field of 40 x 40 px holds no crop of 41 px"):
        fields.check_crop_size(41)


def test_a_damaged_chunk_is_a_user_error_that_names_the_field(tmp_path):
    store = make_tiny_store(tmp_path / "store", num_experiments=1, num_plates=1)
    damage_field(store, 2)
    fields = open_fields(stores=[store])
    with pytest.raises(UserError, match=r"experiment E1, plate P1, well .* cannot be decoded"):
        fields.start_field(2).result()


def damage_field(store, index):
    """Overwrite the middle of one field's shard."""
    well = open_screen(store).wells.iloc[index]
    (shard,) = store.rglob(f"images.zarr/{array_path(well['well'], well['site'])}/c.0.0.0")
    content = bytearray(shard.read_bytes())
    content[10 : len(content) // 2] = b"\xff" * (len(content) // 2 - 10)
    shard.write_bytes(bytes(content))
