"""The `import` verb: released weights and baselines as encoders."""

import json

import pytest
import timm
import torch
from safetensors.torch import save_file

from phenoscale.config import Runtime
from phenoscale.errors import UserError
from phenoscale.models.config import ImportConfig
from phenoscale.models.encoder import load_encoder, save_encoder, trim_encoder
from phenoscale.models.stage import run_import
from phenoscale.schema.encoders import encoder_digest
from tests.support.encoders import CHANNELS, raw_crops, tiny_encoder
from tests.support.released import openphenom_tensors


@pytest.fixture
def trained(tmp_path):
    facts = {"is_trained": True, "num_training_crops": 640, "precision": "bf16"}
    return save_encoder(tmp_path / "trained", tiny_encoder(seed=1, facts=facts))


def imported(tmp_path, **settings):
    runtime = Runtime(workspace=str(tmp_path / "workspace"))
    return run_import(ImportConfig(runtime=runtime, **settings))


def test_untrained_twin_has_the_same_architecture_and_other_weights(tmp_path, trained):
    result = imported(tmp_path, source="untrained", like=str(trained), seed=5)
    twin, original = load_encoder(result.path), load_encoder(trained)
    assert (twin.config.is_trained, twin.config.num_training_crops, twin.config.seed) == (False, 0, 5)
    assert twin.config.describe() == original.config.describe()
    assert twin.config.precision == original.config.precision
    crops = raw_crops(2)
    assert not torch.allclose(twin.embed(crops), original.embed(crops), atol=1e-2)
    assert "A control, not a model." in (result.path / "encoder" / "card.md").read_text()
    assert result.summary["encoder_digest"] == encoder_digest(result.path)


def test_untrained_twin_of_a_trimmed_encoder_has_all_blocks_again(tmp_path, trained):
    trimmed = save_encoder(tmp_path / "trimmed", trim_encoder(load_encoder(trained), 0))
    twin = load_encoder(imported(tmp_path, source="untrained", like=str(trimmed)).path)
    assert (twin.num_blocks, twin.config.block, twin.config.trimmed_from) == (3, None, None)


def test_pixel_statistics_take_channels_crop_and_scale_from_the_other_encoder(tmp_path, trained):
    result = imported(tmp_path, source="pixel_statistics", like=str(trained))
    encoder = load_encoder(result.path)
    assert encoder.config.channels == CHANNELS
    assert (encoder.config.crop_size, encoder.config.intensity_scale) == (32, 65535.0)
    assert encoder.embed(raw_crops(2)).shape == (2, 15)
    assert result.summary["num_parameters"] == 0


def test_second_import_is_reused_and_another_seed_is_not(tmp_path, trained):
    first = imported(tmp_path, like=str(trained))
    assert imported(tmp_path, like=str(trained)).reused
    other = imported(tmp_path, like=str(trained), seed=1)
    assert not other.reused
    assert encoder_digest(other.path) != encoder_digest(first.path)


def test_import_without_an_encoder_to_be_like_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="import needs --like"):
        imported(tmp_path, source="untrained")


def test_import_like_a_folder_without_an_encoder_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match=r"holds no encoder: an encoder is a folder with config\.json"):
        imported(tmp_path, source="untrained", like=str(tmp_path))


@pytest.fixture
def openphenom_file(tmp_path):
    """Published as it was: `torch.save` under the name of a safetensors file."""
    file = tmp_path / "model.safetensors"
    torch.save({"state_dict": openphenom_tensors()}, file)
    return file


@pytest.fixture
def timm_file(tmp_path):
    torch.save(timm.create_model("test_vit", pretrained=False).state_dict(), tmp_path / "test_vit.pt")
    return tmp_path / "test_vit.pt"


def test_both_published_forms_of_openphenom_give_the_same_encoder(tmp_path, openphenom_file):
    settings = {"source": "openphenom", "channels": ("DNA", "ER"), "license": "CC-BY-NC-4.0"}
    first = imported(tmp_path, weights=str(openphenom_file), **settings)
    real = tmp_path / "real.safetensors"
    save_file(openphenom_tensors(), real)
    second = imported(tmp_path, weights=str(real), **settings)
    assert first.path != second.path
    assert encoder_digest(first.path) == encoder_digest(second.path) == first.summary["encoder_digest"]
    encoder = load_encoder(first.path)
    assert (encoder.config.channels, encoder.config.crop_size) == (("DNA", "ER"), 12)
    assert (encoder.config.intensity_scale, encoder.config.is_trained) == (255.0, True)
    assert encoder.embed(raw_crops(2, size=12, channels=2)).shape == (2, 16)
    lineage = json.loads((first.path / "lineage.json").read_text())
    assert lineage["inputs"]["weights"]["uri"] == str(openphenom_file)


def test_the_encoder_does_not_need_the_file_after_the_import(tmp_path, openphenom_file, timm_file):
    whole = imported(tmp_path, source="openphenom", channels=CHANNELS, weights=str(openphenom_file))
    backbone = imported(
        tmp_path,
        source="timm",
        timm_model="test_vit",
        weights=str(timm_file),
        channels=CHANNELS,
        crop_size=32,
    )
    openphenom_file.unlink()
    timm_file.unlink()
    assert load_encoder(whole.path).embed(raw_crops(1, size=12)).shape == (1, 16)
    assert load_encoder(backbone.path).embed(raw_crops(1)).shape == (1, 64)


def test_timm_takes_channels_crop_and_scale_from_the_other_encoder_unless_they_are_given(
    tmp_path, trained, timm_file
):
    settings = {"source": "timm", "timm_model": "test_vit", "weights": str(timm_file), "like": str(trained)}
    config = load_encoder(imported(tmp_path, **settings).path).config
    assert (config.channels, config.crop_size, config.intensity_scale) == (CHANNELS, 32, 65535.0)
    given = load_encoder(imported(tmp_path, channels=("DNA",), intensity_scale=255.0, **settings).path).config
    assert (given.channels, given.crop_size, given.intensity_scale) == (("DNA",), 32, 255.0)


def test_license_of_timm_weights_is_what_timm_records_unless_it_is_given(tmp_path, timm_file):
    settings = {"source": "timm", "weights": str(timm_file), "channels": CHANNELS, "crop_size": 32}
    recorded = imported(tmp_path, timm_model="test_vit.r160_in1k", **settings)
    assert "License: apache-2.0." in (recorded.path / "encoder" / "card.md").read_text()
    given = imported(tmp_path, timm_model="test_vit.r160_in1k", license="as agreed", **settings)
    assert "License: as agreed." in (given.path / "encoder" / "card.md").read_text()


def test_an_untrained_twin_of_released_weights_is_under_no_license_of_theirs(tmp_path, timm_file):
    settings = {"timm_model": "test_vit", "weights": str(timm_file), "channels": CHANNELS, "crop_size": 32}
    released = imported(tmp_path, source="timm", **settings)
    twin = imported(tmp_path, source="untrained", like=str(released.path))
    config = load_encoder(twin.path).config
    assert (config.timm_model, config.is_trained, config.license) == ("test_vit", False, "")


def test_random_vectors_have_the_length_and_the_seed_that_were_asked_for(tmp_path):
    first, same, other = (
        load_encoder(
            imported(
                tmp_path / place, source="random_vectors", channels=CHANNELS, crop_size=32, seed=seed
            ).path
        )
        for place, seed in (("a", 0), ("b", 0), ("a", 1))
    )
    crops = raw_crops(2)
    assert first.embed(crops).shape == (2, 1024)
    assert torch.equal(first.embed(crops), same.embed(crops))
    assert not torch.equal(first.embed(crops), other.embed(crops))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": "pixel_statistics"}, "needs the channels that it will read: --channels DNA,ER"),
        (
            {"source": "openphenom", "channels": ("DNA",)},
            r"never downloads.*`hf download recursionpharma/OpenPhenom model\.safetensors",
        ),
        (
            {"source": "timm", "channels": ("DNA",), "preset": "mae_l16_in1k"},
            r"hf download timm/vit_large_patch16_224\.mae model\.safetensors",
        ),
        (
            {"source": "timm", "weights": "w", "channels": ("DNA",)},
            "one of --timm_model and --preset, got ''",
        ),
        (
            {"source": "timm", "weights": "w", "channels": ("DNA",), "preset": "dinov2"},
            "no preset 'dinov2'; choose one of vit_s16_in21k",
        ),
        (
            {"source": "openphenom", "timm_model": "x", "dim": 3},
            "does not read --timm_model, --dim; leave them",
        ),
        ({"source": "random_vectors", "weights": "w"}, "does not read --weights; leave it out"),
        ({"source": "untrained", "channels": ("DNA",)}, "source untrained does not read --channels"),
    ],
)
def test_missing_and_contradicting_fields_are_refused_with_the_way_out(tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        imported(tmp_path, **settings)
