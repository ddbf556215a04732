"""Every training that the package ships: the published hyper-parameters, and a rehearsal of two steps."""

import pytest

from phenoscale.config import load_config
from phenoscale.models.encoder import load_encoder
from phenoscale.recipes import find_recipe, recipe_names
from phenoscale.training.config import PretrainConfig
from phenoscale.training.metrics import read_records
from phenoscale.training.stage import run_pretrain
from tests.support.encoders import raw_crops
from tests.support.screens import make_tiny_manifest, make_tiny_store

RECIPES = [name for name in recipe_names() if name.startswith("pretrain/")]
# Table 1.6 of science.md: optimizer, rate, weight decay, global batch, epochs, mask, stochastic depth.
PUBLISHED = {
    "mae_s16_rxrx3": ("lion", 1e-4, 0.05, 4096, 50, 0.75, 0.1),
    "mae_b16_rxrx3": ("lion", 1e-4, 0.05, 4096, 50, 0.75, 0.1),
    "mae_b8_rxrx3": ("lion", 1e-4, 0.05, 4096, 50, 0.75, 0.1),
    "mae_l16_rxrx3": ("lion", 3e-5, 0.05, 4096, 50, 0.75, 0.3),
    "mae_l8_rpi93m": ("lion", 3e-5, 0.05, 16384, 50, 0.75, 0.3),
    "mae_l8_pp16m": ("lion", 3e-5, 0.05, 16384, 500, 0.75, 0.3),
    "mae_g8_pp16m": ("lion", 3e-5, 0.05, 8192, 500, 0.75, 0.6),
    "ca_mae_s16_rxrx3": ("lion", 1e-4, 0.05, 2048, 100, 0.75, 0.1),
    "ca_mae_b16_rxrx3": ("lion", 1e-4, 0.05, 4096, 50, 0.75, 0.1),
    "ca_mae_l16_rpi93m": ("lion", 3e-5, 0.05, 16384, 50, 0.85, 0.3),
    "openphenom": ("lion", 1e-4, 0.05, 2048, 100, 0.75, 0.1),
    "mu_net_m_rxrx3": ("adamw", 1e-3, 0.05, 4096, 50, None, None),
    "mu_net_l_rxrx3": ("adamw", 1e-3, 0.05, 4096, 50, None, None),
    "wsl_vit_b16_rxrx1": ("adamw", 1e-3, 0.05, 4096, 100, None, None),
    "wsl_vit_l16_rxrx1": ("adamw", 1e-3, 0.05, 4096, 100, None, None),
    "wsl_densenet161_rxrx1": ("sgd", 0.32768, 1e-5, 4096, 100, None, None),
    "wsl_densenet161_adabn_rxrx1": ("sgd", 0.32768, 1e-5, 4096, 100, None, None),
}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    place = tmp_path_factory.mktemp("recipes")
    return make_tiny_manifest(place / "manifest", make_tiny_store(place / "store", size=64))


@pytest.mark.parametrize("name", PUBLISHED)
def test_recipe_has_the_published_hyper_parameters(name):
    config = load_config(PretrainConfig, find_recipe(f"pretrain/{name}"), flags={})
    model, optimizer = config.model, config.optimizer
    assert PUBLISHED[name] == (
        optimizer.name,
        optimizer.learning_rate,
        optimizer.weight_decay,
        config.global_batch,
        config.num_epochs,
        model.mask_ratio,
        model.drop_path_rate,
    )
    assert optimizer.momentum == (0.9 if optimizer.name == "sgd" else 0.0)
    assert optimizer.betas == (0.9, 0.95)
    assert config.schedule.warmup_fraction == 0.1
    model.build(num_channels=6, num_classes=1139, crop_size=config.crop_size)


def test_every_recipe_of_a_training_is_in_the_table():
    assert {name.removeprefix("pretrain/") for name in RECIPES} == set(PUBLISHED)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_can_be_rehearsed_in_two_steps(name, manifest, tmp_path):
    runtime = {"workspace": str(tmp_path), "device": "cpu"}
    flags = {"tiny": True, "manifest": str(manifest), "precision": "fp32", "runtime": runtime}
    config = load_config(PretrainConfig, find_recipe(name), flags={**flags, "compile": False})
    result = run_pretrain(config)
    records = read_records(result.path / "metrics.jsonl")
    assert [record["step"] for record in records] == [1, 2]
    encoder = load_encoder(result.path)
    if config.model.family in ("mae", "ca_mae"):
        assert (encoder.config.block_style, encoder.config.qk_norm) == ("parallel", True)
        assert encoder.config.layer_scale_init == 1e-4
    assert encoder.config.num_training_crops == 16
    assert encoder.embed(raw_crops(8, size=64)).isfinite().all()
