"""Lion against its three lines, and what weight decay acts on."""

import pytest
import torch

from phenoscale.models.mae import MaskedAutoencoder
from phenoscale.training.optimizer import build_optimizer, is_decayed
from phenoscale.training.settings import OptimizerSettings
from tests.support.pretraining import tiny_model


def test_lion_equals_its_three_line_reference():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    layer = torch.nn.Linear(3, 4, bias=False, dtype=torch.float64)
    layer.weight.data.copy_(weight)
    settings = OptimizerSettings(name="lion", learning_rate=0.1, betas=(0.9, 0.95), weight_decay=0.05)
    optimizer = build_optimizer(layer, settings=settings)
    average = torch.zeros_like(weight)
    for step in range(20):
        rate, gradient = 0.1 / (step + 1), torch.randn(4, 3, generator=generator, dtype=torch.float64)
        update = torch.sign(0.9 * average + 0.1 * gradient)
        weight = weight - rate * (update + 0.05 * weight)
        average = 0.95 * average + 0.05 * gradient
        layer.weight.grad = gradient
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    torch.testing.assert_close(layer.weight.data, weight, rtol=0, atol=1e-12)


@pytest.mark.parametrize("block", ["standard", "parallel"])
def test_weight_decay_acts_on_matrices_and_on_nothing_else(block):
    published = {"qk_norm": True, "layer_scale_init": 1e-4} if block == "parallel" else {}
    model = MaskedAutoencoder(tiny_model(block=block, **published))
    decayed = {name for name, value in model.named_parameters() if is_decayed(name, value)}
    linear = {f"{name}.weight" for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)}
    fused = {name for name in decayed - linear if name.endswith("weight")}
    assert linear <= decayed
    assert decayed - linear == fused
    spared = {name for name, _ in model.named_parameters()} - decayed
    assert {"encoder.cls_token", "decoder.mask_token"} <= spared


def test_every_trained_parameter_is_in_exactly_one_group():
    model = MaskedAutoencoder(tiny_model())
    for name in ("lion", "adamw", "sgd"):
        optimizer = build_optimizer(model, settings=OptimizerSettings(name=name))
        grouped = [id(value) for group in optimizer.param_groups for value in group["params"]]
        assert sorted(grouped) == sorted(id(value) for value in model.parameters())
        assert [group["weight_decay"] for group in optimizer.param_groups] == [0.05, 0.0]


def test_sgd_with_momentum_equals_its_two_line_reference():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    layer = torch.nn.Linear(3, 4, bias=False, dtype=torch.float64)
    layer.weight.data.copy_(weight)
    settings = OptimizerSettings(name="sgd", learning_rate=0.1, momentum=0.9, weight_decay=1e-2)
    optimizer = build_optimizer(layer, settings=settings)
    velocity = torch.zeros_like(weight)
    for _ in range(10):
        gradient = torch.randn(4, 3, generator=generator, dtype=torch.float64)
        velocity = 0.9 * velocity + gradient + 1e-2 * weight
        weight = weight - 0.1 * velocity
        layer.weight.grad = gradient
        optimizer.step()
    torch.testing.assert_close(layer.weight.data, weight, rtol=0, atol=1e-12)
