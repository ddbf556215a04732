"""Reconstructions: what is chosen, what the arrays hold, and the picture."""

import numpy as np
import pytest
from PIL import Image

from phenoscale.loading.fields import open_fields, select_rows
from phenoscale.models.families import build_model
from phenoscale.models.mae import MaskedAutoencoder
from phenoscale.models.preprocess import standardize
from phenoscale.training.labels import NEGATIVE_CONTROL
from phenoscale.training.reconstructions import (
    choose_rows_to_show,
    draw_reconstructions,
    reconstruct,
    write_reconstructions,
)
from phenoscale.training.validation import read_fixed_crops
from tests.support.pretraining import family_model, tiny_settings


@pytest.fixture(scope="module")
def fields(manifest):
    """The opened manifest."""
    return open_fields(manifest=manifest)


@pytest.fixture(scope="module")
def shown(fields):
    """Reconstructions by an untrained model."""
    settings = tiny_settings()
    rows = choose_rows_to_show(fields, num_crops=6)
    return reconstruct(MaskedAutoencoder(settings.model), fields=fields, rows=rows, settings=settings)


def test_half_are_negative_controls_and_the_others_differ_in_their_perturbation(fields):
    chosen = fields.frame.iloc[choose_rows_to_show(fields, num_crops=6)]
    assert set(chosen["split"]) == {"validation"}
    assert chosen["is_negative_control"].sum() == 3
    others = chosen.loc[~chosen["is_negative_control"].astype(bool), "perturbation"]
    assert others.nunique() == len(others) == 3


def test_missing_kind_is_made_up_by_the_other(fields):
    is_control = fields.frame["is_negative_control"].to_numpy(bool)
    only_controls = select_rows(fields, np.flatnonzero(is_control))
    assert len(choose_rows_to_show(only_controls, num_crops=5)) == 5
    no_controls = select_rows(fields, np.flatnonzero(~is_control))
    assert len(choose_rows_to_show(no_controls, num_crops=3)) == 3
    assert len(choose_rows_to_show(fields, num_crops=0)) == 0


def test_training_fields_are_shown_where_there_is_no_validation_split(fields):
    training = select_rows(fields, fields.rows("train"))
    chosen = training.frame.iloc[choose_rows_to_show(training, num_crops=4)]
    assert len(chosen) == 4


def test_visible_patches_are_kept_and_removed_ones_are_the_model_s(shown):
    removed = np.all(shown.masked_NCHW == 0, axis=1)
    assert removed.mean() == pytest.approx(0.75)
    kept = ~np.broadcast_to(removed[:, None], shown.original_NCHW.shape)
    assert np.array_equal(shown.masked_NCHW[kept], shown.original_NCHW[kept])
    assert np.array_equal(shown.reconstruction_NCHW[kept], shown.original_NCHW[kept])
    assert not np.allclose(shown.reconstruction_NCHW[~kept], shown.original_NCHW[~kept])
    assert np.allclose(shown.original_NCHW.mean(axis=(2, 3)), 0, atol=1e-4)


@pytest.mark.parametrize("family", ["ca_mae", "mu_net"])
def test_every_masked_family_shows_the_standardized_crops_and_what_it_saw(fields, family):
    settings = tiny_settings(model=family_model(family))
    rows = choose_rows_to_show(fields, num_crops=4)
    model = build_model(settings.model, seed=0)
    shown = reconstruct(model, fields=fields, rows=rows, settings=settings)
    crops = read_fixed_crops(fields, rows=rows, settings=settings).crops_NCHW
    ready = standardize(crops, intensity_scale=settings.intensity_scale).numpy()
    assert np.array_equal(shown.original_NCHW, ready)
    is_hidden = shown.masked_NCHW == 0
    assert is_hidden.mean() == pytest.approx(0.75, abs=0.01)
    assert np.array_equal(shown.masked_NCHW[~is_hidden], ready[~is_hidden])
    # channel-agnostic masks differ between channels, the others hide all channels of a patch
    assert np.array_equal(is_hidden[:, 0], is_hidden[:, 1]) == (family == "mu_net")


def test_of_mixed_channels_one_set_is_shown_and_named(mixed_manifest):
    fields = open_fields(manifest=mixed_manifest, absent="zero")
    settings = tiny_settings(model=family_model("ca_mae", num_channels=4))
    model = build_model(settings.model, seed=0)
    shown = reconstruct(
        model, fields=fields, rows=choose_rows_to_show(fields, num_crops=4), settings=settings
    )
    assert shown.channels in (("DNA", "ER", "RNA"), ("DNA", "ER", "AGP"))
    assert shown.original_NCHW.shape == (4, 3, 32, 32)
    assert np.allclose(shown.original_NCHW.std(axis=(2, 3)), 1, atol=0.02)


def test_file_holds_arrays_and_labels_without_pickles(shown, tmp_path):
    file = tmp_path / "reconstructions.npz"
    write_reconstructions(file, shown)
    with np.load(file, allow_pickle=False) as arrays:
        for name in ("original", "masked", "reconstruction"):
            assert arrays[name].shape == (6, 3, 32, 32)
        assert arrays["labels"].tolist().count(NEGATIVE_CONTROL) == 3
        assert arrays["channels"].tolist() == ["DNA", "ER", "RNA"]
        assert len(arrays["field_ids"]) == 6


def test_picture_has_a_row_per_crop_and_three_columns(shown, tmp_path):
    draw_reconstructions(tmp_path / "figures" / "picture.png", shown)
    with Image.open(tmp_path / "figures" / "picture.png") as picture:
        assert picture.size == (3 * 128 + 2 * 4, 6 * 128 + 5 * 4)
        pixels = np.asarray(picture).astype(int)
    masked, original = pixels[:, :128], pixels[:, -128:]
    assert masked.std() > 0
    assert original.std() > 0
    assert not np.array_equal(masked, original)
