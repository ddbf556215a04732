"""The validation loss: fixed crops and masks, the same for any number of ranks and any seed."""

import dataclasses

import numpy as np
import pytest
import torch

from phenoscale.loading.fields import load_manifest_fields
from phenoscale.models.losses import mae_loss
from phenoscale.models.mae import MaskedAutoencoder
from phenoscale.models.preprocess import standardize
from phenoscale.training.ranks import Ranks
from phenoscale.training.validation import (
    choose_validation_rows,
    read_fixed_crops,
    share_of,
    validation_terms,
)
from tests.support.pretraining import tiny_model, tiny_settings


@pytest.fixture(scope="module")
def fields(manifest):
    """The opened manifest."""
    return load_manifest_fields(manifest)


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
    assert torch.equal(crops.told, other.told)


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
    assert torch.equal(torch.cat([share.told for share in shares]), whole.told)


def test_loss_is_the_training_objective_without_stochastic_depth(fields, alone):
    settings = tiny_settings(model=tiny_model(drop_path_rate=0.5))
    crops = read_fixed_crops(fields, rows=choose_validation_rows(fields, num_crops=22), settings=settings)
    model = MaskedAutoencoder(settings.model, seed=1).train()
    found = validation_terms(model, crops=crops, settings=settings, ranks=alone)
    assert model.training
    with torch.no_grad():
        ready = standardize(crops.crops_NCHW, intensity_scale=settings.intensity_scale)
        expected = mae_loss(model.eval()(ready, crops.told), alpha=settings.loss.alpha)
    assert found == {"loss": pytest.approx(expected.item(), abs=1e-6)}


def test_loss_of_many_crops_does_not_depend_on_their_batches(fields, alone):
    settings = tiny_settings()
    some = read_fixed_crops(fields, rows=choose_validation_rows(fields, num_crops=22), settings=settings)
    many = dataclasses.replace(
        some, crops_NCHW=some.crops_NCHW.repeat(4, 1, 1, 1), told=some.told.repeat(4, 1)
    )
    model = MaskedAutoencoder(settings.model)
    few, all_ = (
        validation_terms(model, crops=crops, settings=settings, ranks=alone) for crops in (some, many)
    )
    assert few == pytest.approx(all_, abs=1e-6)
