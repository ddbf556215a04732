"""The settings of `pretrain`, and the plain values made from them."""

import pytest

from phenoscale.config import fingerprint, parse_config
from phenoscale.errors import UserError
from phenoscale.models.families import model_config
from phenoscale.training.config import PretrainConfig

FACTS = {"num_channels": 5, "intensity_scale": 255.0, "precision": "fp32"}


def parse(**data):
    return parse_config(PretrainConfig, data, source="test")


def test_defaults_are_the_published_recipe():
    settings = PretrainConfig().settings(num_fields=1024, **FACTS)
    assert settings.model == model_config("mae", size="S/16", num_channels=5)
    assert (settings.loss.alpha, settings.loss.fourier_mode) == (0.01, "per_patch")
    assert (settings.optimizer.name, settings.optimizer.betas) == ("lion", (0.9, 0.95))
    assert settings.optimizer.weight_decay == 0.05
    assert settings.schedule.warmup_fraction == 0.1
    assert settings.model.mask_ratio == 0.75


def test_size_is_a_start_from_which_single_dimensions_differ():
    config = parse(model={"size": "small", "num_blocks": 3, "mask_ratio": 0.5}, crop_size=32)
    settings = config.settings(num_fields=10, **FACTS)
    changes = {"num_blocks": 3, "mask_ratio": 0.5, "crop_size": 32}
    assert settings.model == model_config("mae", size="small", num_channels=5, **changes)


def test_epochs_become_steps_and_steps_when_given_count():
    config = parse(num_epochs=10, global_batch=64)
    assert config.settings(num_fields=1000, **FACTS).schedule.num_steps == 156  # 10,000 crops / 64
    assert parse(num_steps=7).settings(num_fields=1000, **FACTS).schedule.num_steps == 7
    assert parse(num_epochs=0.1, global_batch=64).settings(num_fields=10, **FACTS).schedule.num_steps == 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"optimizer": {"name": "adam"}}, "optimizer.name = 'adam'"),
        ({"optimizer": {"betas": [0.9, 1.5]}}, "optimizer.betas"),
        ({"optimizer": {"learning_rate": 0}}, "optimizer.learning_rate = 0"),
        ({"loss": {"alpha": 2}}, "loss.alpha = 2"),
        ({"model": {"depth": 3}}, "unknown field model.depth"),
        ({"global_batch": 0}, "global_batch = 0"),
        ({"precision": "fp8"}, "precision = 'fp8'"),
        ({"num_step": 3}, "did you mean num_steps"),
    ],
)
def test_wrong_setting_is_refused_by_name(data, words):
    with pytest.raises(UserError) as error:
        parse(**data)
    assert words in str(error.value)


def test_dimensions_that_do_not_fit_together_are_refused():
    config = parse(model={"size": "tiny", "num_heads": 5})
    with pytest.raises(UserError, match="embedding_dim 48"):
        config.settings(num_fields=10, **FACTS)


def test_what_does_not_change_the_numbers_does_not_change_the_fingerprint():
    plain = fingerprint(PretrainConfig())
    assert fingerprint(parse(micro_batch=4, checkpoint_every_steps=3, keep_checkpoints=9)) == plain
    assert fingerprint(parse(runtime={"num_processes": 4, "device": "cpu"}, manifest="elsewhere")) == plain
    for change in ({"seed": 1}, {"global_batch": 8}, {"loss": {"alpha": 0.0}}, {"flips": False}):
        assert fingerprint(parse(**change)) != plain
