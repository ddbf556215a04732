"""The `import` verb: baselines made like another encoder."""

import pytest
import torch

from phenoscale.config import Runtime
from phenoscale.errors import UserError
from phenoscale.models.config import ImportConfig
from phenoscale.models.encoder import load_encoder, save_encoder, trim_encoder
from phenoscale.models.stage import run_import
from phenoscale.schema.encoders import encoder_digest
from tests.support.encoders import CHANNELS, raw_crops, tiny_encoder


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
