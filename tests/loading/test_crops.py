"""The crop loader: the same crops for any number of ranks, steps, caches and threads."""

import dataclasses
import threading

import numpy as np
import pytest
import torch

from phenoscale.errors import UserError
from phenoscale.loading.crops import CropLoader
from phenoscale.loading.fields import open_fields
from phenoscale.loading.plan import balanced_weights, crop_corners, flips
from phenoscale.screens.store import ScreenStore
from tests.loading.test_fields import damage_field
from tests.support.screens import make_tiny_store

SIZE = 24
FIELD_BYTES = 3 * 40 * 40 * 2


def loader(fields, **changes):
    return CropLoader(fields, **{"crop_size": SIZE, "seed": 11, **changes})


def test_a_crop_is_the_planned_window_of_its_field_flipped_as_planned(fields):
    batch = loader(fields).minibatch(3, global_batch=10)
    for index, row in enumerate(batch.rows):
        sample, epoch = batch.samples[[index]], int(batch.epochs[index])
        side = np.array([40])
        [(top, left)] = crop_corners(sample, seed=11, epoch=epoch, heights=side, widths=side, size=SIZE)
        [(down, across)] = flips(sample, seed=11, epoch=epoch)
        expected = fields.start_field(row).result()[:, top : top + SIZE, left : left + SIZE]
        expected = np.flip(expected, axis=1) if down else expected
        expected = np.flip(expected, axis=2) if across else expected
        np.testing.assert_array_equal(batch.crops_BCHW[index], expected)


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_share_exactly_the_crops_of_one_rank(fields, world_size):
    source = loader(fields)
    whole = source.minibatch(5, global_batch=8)
    shares = [source.minibatch(5, global_batch=8, rank=r, world_size=world_size) for r in range(world_size)]
    for name in ("crops_BCHW", "samples", "epochs", "rows"):
        together = np.concatenate([getattr(share, name) for share in shares])
        np.testing.assert_array_equal(together, getattr(whole, name))


def test_an_epoch_sees_every_training_field_once_and_no_other(fields):
    source = loader(fields)
    per_epoch = source.num_samples
    batches = [source.minibatch(step, global_batch=per_epoch) for step in range(2)]
    for epoch, batch in enumerate(batches):
        assert sorted(batch.rows) == fields.rows("train").tolist()
        assert (batch.epochs == epoch).all()
    assert batches[0].rows.tolist() != batches[1].rows.tolist()


def test_a_minibatch_may_straddle_epochs_and_steps_leave_no_gap(fields):
    source = loader(fields)
    batches = [source.minibatch(step, global_batch=9) for step in range(8)]
    drawn = np.concatenate([batch.epochs * source.num_samples + batch.samples for batch in batches])
    np.testing.assert_array_equal(drawn, np.arange(72))
    assert any(len(set(batch.epochs)) == 2 for batch in batches)


def test_a_step_is_the_same_whatever_was_loaded_before(fields):
    used, fresh = loader(fields, cache_bytes=2**20), loader(fields)
    for step in (0, 9, 1):
        used.minibatch(step, global_batch=6)
    expected = fresh.minibatch(2, global_batch=6)
    np.testing.assert_array_equal(used.minibatch(2, global_batch=6).crops_BCHW, expected.crops_BCHW)


class CountingStore(ScreenStore):
    """A screen store that notes every read."""

    def __init__(self, store):
        super().__init__(store.folder, header=store.header)
        self.reads = []

    def field(self, plate_index, field_index):
        self.reads.append((plate_index, field_index))
        return super().field(plate_index, field_index)

    def crop(self, plate_index, field_index, **window):
        self.reads.append((plate_index, field_index))
        return super().crop(plate_index, field_index, **window)


def held_by(loader):
    return 0 if loader._cache is None else loader._cache.num_bytes


@pytest.mark.parametrize("cache_bytes", [1, 3 * FIELD_BYTES, 2**24])
def test_caches_of_any_size_change_nothing_and_stay_within_their_size(fields, cache_bytes):
    plain, cached = loader(fields), loader(fields, cache_bytes=cache_bytes)
    for step in range(6):
        expected = plain.minibatch(step, global_batch=7).crops_BCHW
        np.testing.assert_array_equal(cached.minibatch(step, global_batch=7).crops_BCHW, expected)
        assert held_by(cached) <= cache_bytes
    whole = cached.num_samples * FIELD_BYTES
    assert held_by(cached) == (whole if cache_bytes >= whole else FIELD_BYTES * (cache_bytes // FIELD_BYTES))


@pytest.mark.parametrize(("cache_bytes", "reads_per_epoch"), [(0, [22, 22, 22]), (2**24, [22, 0, 0])])
def test_with_room_for_all_fields_each_is_read_once(fields, cache_bytes, reads_per_epoch):
    counting = CountingStore(fields.stores[0])
    source = loader(dataclasses.replace(fields, stores=(counting,)), cache_bytes=cache_bytes)
    for step, expected in enumerate(reads_per_epoch):
        counting.reads.clear()
        source.minibatch(step, global_batch=source.num_samples)
        assert len(counting.reads) == expected


def test_flips_can_be_turned_off(fields):
    straight = loader(fields, flip=False).minibatch(0, global_batch=12)
    turned = loader(fields).minibatch(0, global_batch=12)
    differs = [not np.array_equal(a, b) for a, b in zip(straight.crops_BCHW, turned.crops_BCHW, strict=True)]
    np.testing.assert_array_equal(differs, flips(turned.samples, seed=11, epoch=0).any(axis=1))


def test_prefetched_minibatches_are_those_that_are_asked_for(fields):
    source = loader(fields)
    with source.prefetch(4, 5, global_batch=6) as ahead:
        for step, batch in zip(range(4, 9), ahead, strict=True):
            expected = source.minibatch(step, global_batch=6).crops_BCHW
            np.testing.assert_array_equal(batch.crops_BCHW, expected)
    assert [thread for thread in threading.enumerate() if thread.name == "crop loader"] == []


def test_a_damaged_field_ends_prefetching_with_its_name(tmp_path):
    store = make_tiny_store(tmp_path / "store", num_experiments=1, num_plates=1)
    damage_field(store, 0)
    fields = open_fields(stores=[store])
    with (
        loader(fields).prefetch(0, 4, global_batch=8) as ahead,
        pytest.raises(UserError, match="store is damaged"),
    ):
        list(ahead)


def test_heavier_fields_are_drawn_more_often(fields):
    weighted = fields.frame.copy()
    row = fields.rows("train")[0]
    weighted["weight"] = weighted["weight"].astype(float)
    weighted.loc[row, "weight"] = 5.0
    changed = type(fields)(frame=weighted, stores=fields.stores, channels=fields.channels)
    batch = loader(changed).minibatch(0, global_batch=22)
    assert (batch.rows == row).sum() in (4, 5)


def test_given_weights_are_multiplied_with_the_manifest_s(fields):
    rows = fields.rows("train")
    weighted = dataclasses.replace(fields, frame=fields.frame.assign(weight=1.0))
    weighted.frame.loc[rows[0], "weight"] = 3.0
    given = np.ones(len(rows))
    given[0], given[1] = 2.0, 6.0
    batch = loader(weighted, weights=given).minibatch(0, global_batch=22)
    # 6 + 6 + 20 shares of 22 draws: 4.125 each of the first two
    assert {int((batch.rows == row).sum()) for row in rows[:2]} <= {4, 5}


def test_labels_that_weigh_alike_are_drawn_alike(fields):
    labels = fields.frame["perturbation"].to_numpy(str)[fields.rows("train")]
    source = loader(fields, weights=balanced_weights(labels))
    names = fields.frame["perturbation"].to_numpy(str)
    drawn = np.concatenate([names[source.minibatch(step, global_batch=22).rows] for step in range(100)])
    counts = np.unique(drawn, return_counts=True)[1]
    np.testing.assert_allclose(counts, len(drawn) / len(set(labels)), rtol=0.06)


def test_runs_of_one_plate_are_shared_whole_by_ranks_and_stay_so_over_epochs(fields):
    source = loader(fields, same_plate=4)
    assert source.num_samples == 24, "two plates of 11 fields"
    plates = (fields.frame["experiment"] + "/" + fields.frame["plate"]).to_numpy(str)
    for step in range(6):
        whole = source.minibatch(step, global_batch=16)
        runs = plates[whole.rows].reshape(-1, 4)
        assert (runs == runs[:, :1]).all()
        shares = [source.minibatch(step, global_batch=16, rank=rank, world_size=2) for rank in range(2)]
        np.testing.assert_array_equal(np.concatenate([share.rows for share in shares]), whole.rows)
    epoch = loader(fields, same_plate=4).minibatch(2, global_batch=24)
    counts = np.bincount(epoch.rows, minlength=len(fields))
    assert set(counts[fields.rows("train")]) == {1, 2}
    assert counts.sum() - 22 == (counts == 2).sum() == 2


def test_weighted_runs_of_one_plate_go_through_the_loader_too(fields):
    weights = np.random.default_rng(0).gamma(1.0, size=len(fields.rows("train")))
    source = loader(fields, same_plate=4, weights=weights)
    runs = fields.plates[source.minibatch(0, global_batch=48).rows].reshape(-1, 4)
    assert (runs == runs[:, :1]).all()


def test_a_share_that_cuts_a_run_is_a_user_error(fields):
    with pytest.raises(
        UserError, match=r"24 crops gives each of 4 ranks 6, .* runs of 4 from one plate.*multiple of 16"
    ):
        loader(fields, same_plate=4).minibatch(0, global_batch=24, world_size=4)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_minibatch_is_one_piece_of_memory_that_torch_takes_over(tmp_path, dtype):
    store = make_tiny_store(tmp_path / "store", num_experiments=1, num_plates=1, dtype=dtype)
    crops_BCHW = loader(open_fields(stores=[store])).minibatch(0, global_batch=5).crops_BCHW
    tensor = torch.from_numpy(crops_BCHW)
    assert tensor.is_contiguous()
    assert tensor.dtype == getattr(torch, dtype)
    assert tensor.data_ptr() == crops_BCHW.ctypes.data


def test_crops_of_stores_with_different_stains_say_which_they_have(tmp_path):
    stores = [
        make_tiny_store(
            tmp_path / name, num_experiments=1, num_plates=1, channels=stains, screen=name, size=size
        )
        for name, stains, size in [("a", ("DNA", "ER"), 40), ("b", ("RNA", "DNA"), 48)]
    ]
    fields = open_fields(stores=stores, absent="zero")
    batch = loader(fields).minibatch(0, global_batch=22)
    is_b = fields.frame["store"].to_numpy()[batch.rows] == 1
    np.testing.assert_array_equal(batch.present_BC, np.stack([is_b | True, ~is_b, is_b], axis=1))
    np.testing.assert_array_equal(batch.crops_BCHW.any(axis=(2, 3)), batch.present_BC)
    for cache_bytes in (0, 2**24):
        again = loader(fields, cache_bytes=cache_bytes).minibatch(0, global_batch=22)
        np.testing.assert_array_equal(again.crops_BCHW, batch.crops_BCHW)


def test_crops_that_have_all_channels_say_nothing_about_them(fields):
    assert loader(fields).minibatch(0, global_batch=4).present_BC is None


def test_a_batch_that_ranks_cannot_share_is_a_user_error(fields):
    with pytest.raises(UserError, match="a global batch of 10 crops cannot be shared equally by 4 ranks"):
        loader(fields).minibatch(0, global_batch=10, world_size=4)


def test_crops_larger_than_the_fields_and_empty_splits_are_user_errors(fields):
    with pytest.raises(UserError, match="holds no crop of 64 px"):
        loader(fields, crop_size=64)
    with pytest.raises(UserError, match="no field in split 'test'"):
        loader(fields, split="test")


def test_large_fields_are_cached_only_if_all_of_them_fit(tmp_path):
    store = make_tiny_store(
        tmp_path / "store", num_experiments=1, num_plates=1, num_genes=1, channels=1, size=300, dtype="uint8"
    )
    fields = open_fields(stores=[store])
    field_bytes = fields.num_bytes(0)
    expected = loader(fields).minibatch(0, global_batch=4).crops_BCHW
    for cache_bytes, num_cached in [(field_bytes, 0), (field_bytes * len(fields), 4)]:
        source = loader(fields, cache_bytes=cache_bytes)
        np.testing.assert_array_equal(source.minibatch(0, global_batch=4).crops_BCHW, expected)
        assert held_by(source) == num_cached * field_bytes
