"""The settings of `pretrain`, and the plain values made from them."""

import pytest

from phenoscale.config import fingerprint, parse_config
from phenoscale.errors import UserError
from phenoscale.models.families import FACTS as MODEL_FACTS
from phenoscale.models.families import FAMILIES, model_config
from phenoscale.training.config import ModelConfig, PretrainConfig

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
    assert fingerprint(parse(micro_batch=4, checkpoint_every_steps=3, recompute="blocks")) == plain
    assert fingerprint(parse(runtime={"num_processes": 4, "device": "cpu"}, manifest="elsewhere")) == plain
    for change in ({"seed": 1}, {"global_batch": 8}, {"loss": {"alpha": 0.0}}, {"flips": False}):
        assert fingerprint(parse(**change)) != plain


def test_every_setting_of_every_family_can_be_set_and_no_other():
    settings = {name for family in FAMILIES.values() for name in family.settings} - set(MODEL_FACTS)
    assert set(ModelConfig.model_fields) - {"family", "size"} == settings
    assert set(ModelConfig.model_fields["family"].annotation.__args__) == set(FAMILIES)


def test_setting_that_a_family_does_not_have_is_refused_with_those_it_has():
    config = parse(model={"family": "mu_net", "size": "tiny", "num_heads": 3})
    with pytest.raises(UserError, match=r"mu_net has no setting num_heads.* among patch_size, widths"):
        config.settings(num_fields=10, **FACTS)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"family": "mae", "size": "L/8", "mask_ratio": 0.5}, {"embedding_dim": 48, "mask_ratio": 0.5}),
        ({"family": "ca_mae", "size": "openphenom"}, {"crop_size": 64}),
        ({"family": "mu_net", "size": "L"}, {"widths": (8, 16, 32)}),
        ({"family": "wsl", "size": "B/16"}, {"backbone": "vit"}),
        ({"family": "wsl", "size": "densenet161", "ghost_batch": 16}, {"ghost_batch": 4}),
    ],
)
def test_tiny_rehearses_any_recipe_with_its_optimizer_schedule_and_loss(model, expected):
    config = parse(
        model=model,
        tiny=True,
        crop_size=256,
        global_batch=16384,
        optimizer={"name": "adamw", "learning_rate": 3e-5},
        schedule={"shape": "one_cycle_released"},
        loss={"alpha": 0.3},
        ema_decay=0.99,
    )
    settings = config.settings(num_fields=1000, num_classes=7, **FACTS)
    for name, value in expected.items():
        assert getattr(settings.model, name) == value
    assert (settings.global_batch, settings.schedule.num_steps) == (8, 2)
    assert (settings.optimizer.name, settings.optimizer.learning_rate) == ("adamw", 3e-5)
    assert (settings.schedule.shape, settings.loss.alpha) == ("one_cycle_released", 0.3)
    assert (settings.ema_decay, settings.model.crop_size) == (0.99, 64)
    assert config.as_trained().num_validation_crops == 4
    assert fingerprint(config) != fingerprint(parse(tiny=True))
    assert parse(tiny=True, crop_size=32).settings(num_fields=9, **FACTS).model.crop_size == 32


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"size": "H/14"}, "no size 'H/14'.*G/8"),
        ({"size": "L/16", "num_heads": 7}, "embedding_dim 1024"),
        ({"family": "mu_net", "size": "L", "num_heads": 3}, "mu_net has no setting num_heads"),
    ],
)
def test_rehearsal_refuses_the_model_that_the_training_would_refuse(model, words):
    with pytest.raises(UserError, match=words):
        parse(model=model, tiny=True).settings(num_fields=9, **FACTS)


def test_labels_are_balanced_for_wsl_unless_said_otherwise():
    assert parse(model={"family": "wsl"}).balances_labels
    assert not parse(model={"family": "wsl"}, sampling="uniform").balances_labels
    assert not parse().balances_labels
    assert parse(sampling="balanced").balances_labels


def test_rehearsal_does_not_compile():
    config = PretrainConfig(tiny=True, compile=True)
    shape = {"num_fields": 8, "num_channels": 3, "intensity_scale": 255.0, "precision": "fp32"}
    assert not config.settings(**shape).compile_blocks
    assert PretrainConfig(compile=True).settings(**shape).compile_blocks
