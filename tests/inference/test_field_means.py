"""The mean of a field's crops, however the crops are grouped into minibatches."""

import hashlib

import numpy as np
import pytest
import torch

from phenoscale.errors import UserError
from phenoscale.inference.field_means import CropPlan, all_blocks, chosen_block, embed_fields
from phenoscale.loading.fields import open_fields
from phenoscale.loading.grid import crop_grid
from phenoscale.models.encoder import untrained_encoder
from phenoscale.screens.store import open_screen
from tests.support.embedding import tiny_encoder_config
from tests.support.screens import make_tiny_store

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    store = make_tiny_store(tmp_path_factory.mktemp("screen") / "store", num_sites=2)
    return open_fields(stores=[store])


@pytest.fixture(scope="module")
def encoder():
    return untrained_encoder(tiny_encoder_config())


def embed(readouts, fields, *, rows=None, minibatch_size=7, **changes):
    plan = CropPlan(size=16, device=CPU, minibatch_size=minibatch_size, **changes)
    rows = np.arange(len(fields)) if rows is None else np.asarray(rows)
    return embed_fields(readouts, fields, rows=rows, plan=plan, advance=lambda n, **figures: None)


def one_crop_at_a_time(encoder, fields, row):
    place = fields.frame.iloc[row]
    pixels = fields.stores[place["store"]].read(place["plate_index"], place["field_index"])
    crops = [pixels[:, y : y + 16, x : x + 16] for y, x in crop_grid(40, 40, size=16)]
    blocks = [encoder.embed_blocks(torch.from_numpy(crop[None].copy()))[:, 0].numpy() for crop in crops]
    return np.mean(np.stack(blocks).astype(np.float64), axis=0)


def test_means_equal_the_crops_embedded_one_at_a_time(encoder, fields):
    means = embed({"vit": all_blocks(encoder)}, fields)
    for position in (0, 5, len(fields) - 1):
        expected = one_crop_at_a_time(encoder, fields, means.rows[position])
        np.testing.assert_allclose(means.embeddings["vit"][:, position], expected, atol=1e-5)
    assert means.num_crops.tolist() == [4] * len(fields)


@pytest.mark.parametrize("minibatch_size", [1, 3, 64, 1000])
def test_the_minibatch_size_does_not_change_embeddings(encoder, fields, minibatch_size):
    plain = embed({"vit": all_blocks(encoder)}, fields)
    other = embed({"vit": all_blocks(encoder)}, fields, minibatch_size=minibatch_size)
    np.testing.assert_array_equal(other.rows, plain.rows)
    np.testing.assert_allclose(other.embeddings["vit"], plain.embeddings["vit"], atol=1e-5)


def test_a_field_has_the_same_bits_alone_and_in_company(encoder, fields):
    together = embed({"vit": all_blocks(encoder)}, fields, minibatch_size=8)
    alone = embed({"vit": all_blocks(encoder)}, fields, rows=[9], minibatch_size=8)
    position = together.rows.tolist().index(9)
    np.testing.assert_array_equal(alone.embeddings["vit"][:, 0], together.embeddings["vit"][:, position])


def test_the_chosen_block_is_the_last_of_all_blocks_by_default(encoder, fields):
    means = embed({"all": all_blocks(encoder), "chosen": chosen_block(encoder)}, fields, rows=[3, 1])
    np.testing.assert_array_equal(means.embeddings["chosen"][0], means.embeddings["all"][-1])


def test_rows_come_back_in_store_order(encoder, fields):
    means = embed({"vit": chosen_block(encoder)}, fields, rows=[7, 2, 30])
    assert means.rows.tolist() == [2, 7, 30]


def test_the_inner_grid_and_the_center_crop_use_fewer_crops(encoder, fields):
    center = embed({"vit": chosen_block(encoder)}, fields, rows=[0], layout="center")
    assert center.num_crops.tolist() == [1]
    with pytest.raises(UserError, match="inner grid of a field of 40 x 40 px"):
        embed({"vit": chosen_block(encoder)}, fields, rows=[0], layout="inner")


def test_every_crop_is_counted_for_the_progress_bar(encoder, fields):
    counted = []
    plan = CropPlan(size=16, device=CPU, minibatch_size=10)
    embed_fields(
        {"vit": chosen_block(encoder)},
        fields,
        rows=np.arange(6),
        plan=plan,
        advance=lambda n, **figures: counted.append((n, figures["crops_per_second"] > 0)),
    )
    assert counted == [(10, True), (10, True), (4, True)]


def test_an_embedding_that_is_not_finite_names_its_field(fields):
    def divided_by_zero(crops_BCHW):
        return crops_BCHW.float().mean(dim=(2, 3))[None] / torch.zeros(1)

    with pytest.raises(
        UserError, match=r"4 of 4 embeddings are NaN or infinite: field \w{20} \(screen tiny, experiment E1"
    ):
        embed({"broken": divided_by_zero}, fields, rows=[0, 1, 2, 3])


def test_the_device_chooses_the_minibatch_size_unless_one_is_given():
    assert CropPlan(size=16, device=CPU).minibatch == 64
    assert CropPlan(size=16, device=torch.device("cuda")).minibatch == 512
    assert CropPlan(size=16, device=CPU, minibatch_size=5).minibatch == 5
    assert CropPlan(size=16, device=CPU, minibatch_size=5, ghost_batch=4).minibatch == 8


def crop_means(pixels_CHW):
    return np.stack(
        [pixels_CHW[:, y : y + 16, x : x + 16].mean(axis=(1, 2)) for y, x in crop_grid(40, 40, size=16)]
    )


def relative_to_group(group_size):
    """A readout whose values are relative to the mean of each group of crops that follow each other."""

    def read(crops_BCHW):
        values_GSC = crops_BCHW.double().mean(dim=(2, 3)).unflatten(0, (-1, group_size))
        return (values_GSC - values_GSC.mean(dim=1, keepdim=True)).flatten(0, 1)[None]

    return read


def slow_relative_means(fields, *, plate, group_size):
    """Field by field and place by place, with no more than a dict of groups."""
    rows = np.flatnonzero(fields.plates == plate).tolist()
    rows.sort(key=lambda row: hashlib.sha256(fields.frame["field_id"][row].encode()).hexdigest())
    found = {}
    for start in range(0, len(rows), group_size):
        group = [(rows * group_size)[start + position] for position in range(group_size)]
        means_SPC = np.stack([crop_means(fields.start_field(row).result()) for row in group])
        relative = (means_SPC - means_SPC.mean(axis=0)).mean(axis=1)
        found |= {row: relative[position] for position, row in enumerate(group) if row not in found}
    return found


def test_embeddings_relative_to_their_group_equal_a_slow_loop_over_each_plate(fields):
    means = embed({"relative": relative_to_group(4)}, fields, minibatch_size=16, ghost_batch=4)
    assert means.rows.tolist() == fields.in_store_order().tolist()
    assert (means.num_crops == 4).all()
    for plate in np.unique(fields.plates):
        for row, expected in slow_relative_means(fields, plate=plate, group_size=4).items():
            found = means.embeddings["relative"][0, means.rows.tolist().index(row)]
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("minibatch_size", [1, 8, 200])
def test_groups_are_the_same_in_any_order_and_company_and_minibatch(fields, minibatch_size):
    readouts = {"relative": relative_to_group(4)}
    plain = embed(readouts, fields, minibatch_size=16, ghost_batch=4)
    some = np.flatnonzero(fields.plates != 1)[::-1]
    other = embed(readouts, fields, rows=some, minibatch_size=minibatch_size, ghost_batch=4)
    chosen = np.isin(plain.rows, some)
    np.testing.assert_array_equal(other.rows, plain.rows[chosen])
    np.testing.assert_array_equal(other.embeddings["relative"], plain.embeddings["relative"][:, chosen])


def test_fields_of_stores_with_other_channels_are_embedded_with_their_own(tmp_path):
    stores = [
        make_tiny_store(tmp_path / name, num_experiments=1, num_plates=1, channels=stains, screen=name)
        for name, stains in [("a", ("DNA", "ER")), ("b", ("ER", "AGP", "DNA"))]
    ]
    seen = []

    def number_and_mean_of_channels(crops_BCHW):
        seen.append(crops_BCHW.shape[1])
        means_BC = crops_BCHW.double().mean(dim=(2, 3))
        return torch.stack([means_BC.new_full((len(means_BC),), seen[-1]), means_BC.mean(dim=1)], dim=1)[None]

    fields = open_fields(stores=stores, absent="zero")
    means = embed({"mean": number_and_mean_of_channels}, fields)
    assert set(seen) == {2, 3}
    assert means.rows.tolist() == list(range(22))
    expected = [crop_means(open_screen(store).read(0, 4)).mean() for store in stores]
    np.testing.assert_allclose(means.embeddings["mean"][0, [4, 15]], [[2, expected[0]], [3, expected[1]]])
