"""The validation loss: fixed crops and masks, the same for any number of ranks and any seed."""

import dataclasses

import numpy as np
import pytest
import torch

from phenoscale.loading.fields import open_fields
from phenoscale.models.families import build_model
from phenoscale.models.losses import mae_loss_terms
from phenoscale.models.mae import MaskedAutoencoder
from phenoscale.models.preprocess import standardize
from phenoscale.training.labels import label_fields
from phenoscale.training.ranks import Ranks
from phenoscale.training.validation import (
    choose_validation_rows,
    read_fixed_crops,
    share_of,
    validation_terms,
)
from tests.support.pretraining import family_model, tiny_model, tiny_settings


@pytest.fixture(scope="module")
def fields(manifest):
    """The opened manifest."""
    return open_fields(manifest=manifest)


def test_rows_are_validation_fields_chosen_once_and_for_all(fields):
    rows = choose_validation_rows(fields, num_crops=10)
    assert len(set(rows.tolist())) == 10
    assert set(fields.frame["split"].iloc[rows]) == {"validation"}
    assert np.array_equal(rows, choose_validation_rows(fields, num_crops=10))
    assert len(choose_validation_rows(fields, num_crops=1000)) == 22
    assert len(choose_validation_rows(fields, num_crops=0)) == 0


def test_crops_are_the_centers_and_masks_do_not_depend_on_the_seed(fields):
    rows = choose_validation_rows(fields, num_crops=5)
    crops = read_fixed_crops(fields, rows=rows, settings=tiny_settings())
    for index, row in enumerate(rows):
        whole = fields.start_field(int(row)).result()
        assert np.array_equal(crops.crops_NCHW[index].numpy(), whole[:, 4:36, 4:36])
    other = read_fixed_crops(fields, rows=rows, settings=tiny_settings(seed=9))
    assert torch.equal(crops.noise_or_labels, other.noise_or_labels)


@pytest.mark.parametrize("num_ranks", [2, 3, 40])
def test_shares_of_all_ranks_are_the_whole(fields, num_ranks):
    rows, settings = choose_validation_rows(fields, num_crops=22), tiny_settings()
    whole = read_fixed_crops(fields, rows=rows, settings=settings)
    shares = []
    for rank in range(num_ranks):
        ranks = Ranks(rank=rank, world_size=num_ranks, device=torch.device("cpu"))
        positions = share_of(rows, ranks=ranks)
        shares.append(read_fixed_crops(fields, rows=rows, settings=settings, positions=positions))
    assert torch.equal(torch.cat([share.crops_NCHW for share in shares]), whole.crops_NCHW)
    assert torch.equal(torch.cat([share.noise_or_labels for share in shares]), whole.noise_or_labels)


def test_loss_is_the_training_objective_without_stochastic_depth(fields, alone):
    settings = tiny_settings(model=tiny_model(drop_path_rate=0.5))
    crops = read_fixed_crops(fields, rows=choose_validation_rows(fields, num_crops=22), settings=settings)
    model = MaskedAutoencoder(settings.model, seed=1).train()
    found = validation_terms(model, crops=crops, settings=settings, ranks=alone)
    assert model.training
    with torch.no_grad():
        ready = standardize(crops.crops_NCHW, intensity_scale=settings.intensity_scale)
        expected = mae_loss_terms(model.eval()(ready, crops.noise_or_labels), alpha=settings.loss.alpha).total
    assert found == {"loss": pytest.approx(expected.item(), abs=1e-6)}


def test_loss_of_many_crops_does_not_depend_on_their_batches(fields, alone):
    settings = tiny_settings()
    some = read_fixed_crops(fields, rows=choose_validation_rows(fields, num_crops=22), settings=settings)
    many = dataclasses.replace(
        some, crops_NCHW=some.crops_NCHW.repeat(4, 1, 1, 1), noise_or_labels=some.noise_or_labels.repeat(4, 1)
    )
    model = MaskedAutoencoder(settings.model)
    few, all_ = (
        validation_terms(model, crops=crops, settings=settings, ranks=alone) for crops in (some, many)
    )
    assert few == pytest.approx(all_, abs=1e-6)


def test_labeled_crops_are_judged_by_cross_entropy_and_accuracy(fields, alone):
    labeled = label_fields(fields, column="perturbation")
    settings = tiny_settings(model=family_model("wsl"))
    rows = choose_validation_rows(labeled.fields, num_crops=22, labels=labeled.labels)
    crops = read_fixed_crops(labeled.fields, rows=rows, settings=settings, labels=labeled.labels)
    assert crops.noise_or_labels.tolist() == labeled.labels[rows].tolist()
    model = build_model(settings.model, seed=3)
    found = validation_terms(model, crops=crops, settings=settings, ranks=alone)
    with torch.no_grad():
        ready = standardize(crops.crops_NCHW, intensity_scale=settings.intensity_scale)
        logits = model.eval()(ready, crops.noise_or_labels).logits_BK.double().numpy()
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = crops.noise_or_labels.numpy()
    expected = -np.log(chances[np.arange(len(truth)), truth]).mean()
    assert found["loss"] == pytest.approx(expected, abs=1e-5)
    assert found["accuracy"] == pytest.approx((logits.argmax(axis=1) == truth).mean())


def test_rows_without_a_class_of_training_are_not_judged(fields):
    labels = np.where(np.arange(len(fields)) % 3 == 0, -1, 0)
    rows = choose_validation_rows(fields, num_crops=100, labels=labels)
    expected = [row for row in choose_validation_rows(fields, num_crops=100) if row % 3]
    assert rows.tolist() == expected


@pytest.mark.parametrize("num_ranks", [1, 2, 3])
def test_runs_of_one_plate_stay_together_on_every_rank(fields, num_ranks):
    rows = choose_validation_rows(fields, num_crops=14, run_length=4)
    assert len(rows) == 12  # 2 plates of 11 fields: 2 whole runs of 4 each, 3 runs for 14 crops
    for rank in range(num_ranks):
        ranks = Ranks(rank=rank, world_size=num_ranks, device=torch.device("cpu"))
        mine = rows[share_of(rows, ranks=ranks, run_length=4)]
        assert all(len(set(run)) == 1 for run in fields.plates[mine].reshape(-1, 4).tolist())
    settings = tiny_settings(model=family_model("wsl", size="dense-tiny", ghost_batch=4))
    crops = read_fixed_crops(fields, rows=rows, settings=settings, labels=np.zeros(len(fields), dtype=int))
    assert [len(batch[0]) % 4 for batch in crops.batches()] == [0]


def test_crops_of_different_channels_have_the_mean_of_what_each_has_alone(mixed_manifest, alone):
    fields = open_fields(manifest=mixed_manifest, absent="zero")
    settings = tiny_settings(model=family_model("ca_mae", num_channels=4))
    rows = choose_validation_rows(fields, num_crops=100)
    model = build_model(settings.model, seed=0)
    crops = read_fixed_crops(fields, rows=rows, settings=settings)
    assert set(crops.present_NC.sum(dim=1).tolist()) == {3}
    found = validation_terms(model, crops=crops, settings=settings, ranks=alone)
    each = [
        validation_terms(
            model,
            crops=read_fixed_crops(fields, rows=rows, settings=settings, positions=np.array([position])),
            settings=settings,
            ranks=alone,
        )["loss"]
        for position in range(len(rows))
    ]
    assert found["loss"] == pytest.approx(np.mean(each), rel=1e-5)
