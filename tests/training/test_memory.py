"""The closed form of a training's memory against what autograd really keeps, and against known sums."""

from dataclasses import replace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from phenoscale.models.families import FAMILIES, build_model, model_config
from phenoscale.models.flops import meta_model
from phenoscale.models.losses import LossSettings, loss_terms
from phenoscale.training.memory import (
    FusedAttention,
    SavedBytes,
    checkpoint_bytes,
    counted_bytes,
    crop_memory,
    state_memory,
)
from phenoscale.training.settings import OptimizerSettings
from tests.support.pretraining import tiny_settings

BATCH = 4


def settings_of(size, *, family="mae", precision="fp32", **changes):
    model = model_config(family, size=size, num_channels=3, num_classes=7)
    return tiny_settings(model=model, precision=precision, **changes)


def saved_by_autograd(settings):
    """Bytes per crop of every tensor that a forward pass and the loss keep on this CPU."""
    model = build_model(settings.model, seed=0).train()
    crops = torch.randn(BATCH, 3, settings.model.crop_size, settings.model.crop_size)
    saved = SavedBytes(model)
    with saved:
        prediction = model(crops, torch.rand(BATCH, model.num_mask_tokens))
        terms = loss_terms(prediction, loss=settings.loss)
    assert torch.isfinite(terms["loss"])
    return saved.total / BATCH


@pytest.mark.parametrize("alpha", [0.0, 0.01])
@pytest.mark.parametrize("size", ["tiny", "small", "S/16"])
@pytest.mark.parametrize("family", ["mae", "ca_mae"])
def test_closed_form_of_activations_is_what_autograd_keeps_on_a_cpu(family, size, alpha):
    settings = settings_of(size, family=family, loss=LossSettings(alpha=alpha))
    assert crop_memory(settings).saved == pytest.approx(saved_by_autograd(settings), rel=0.1)


def saved_on_a_gpu_in_bf16(settings):
    """Bytes per crop of a forward pass under a GPU's autocast, on tensors without values."""
    with FakeTensorMode(allow_non_fake_inputs=True), torch.device("cuda"):
        model = build_model(settings.model, seed=0).train()
        crops = torch.empty(BATCH, 3, settings.model.crop_size, settings.model.crop_size)
        noise = torch.empty(BATCH, model.num_mask_tokens)
        torch.set_autocast_enabled("cuda", True)
        torch.set_autocast_dtype("cuda", torch.bfloat16)
        saved = SavedBytes(model)
        try:
            with saved, FusedAttention():
                prediction = model(crops, noise)
        finally:
            torch.set_autocast_enabled("cuda", False)
            torch.clear_autocast_cache()
    assert prediction.prediction_BLP.dtype is torch.bfloat16
    return saved.total / BATCH


@pytest.mark.parametrize("size", ["tiny", "small", "S/16", "B/8"])
def test_closed_form_of_activations_and_of_copied_weights_is_what_autocast_keeps_on_a_gpu(size):
    settings = settings_of(size, precision="bf16", loss=LossSettings(alpha=0.0))
    model = settings.model
    num_parameters = sum(value.numel() for value in meta_model(model).parameters() if value.ndim > 1)
    state = state_memory(settings, num_parameters=num_parameters, largest_block=0)
    no_loss = crop_memory(settings).saved - 4 * 3 * model.crop_size**2
    expected = no_loss + state.copies / BATCH
    assert expected == pytest.approx(saved_on_a_gpu_in_bf16(settings), rel=0.05)


@pytest.mark.parametrize("family", FAMILIES)
def test_activations_of_every_family_can_be_counted_without_memory(family):
    settings = settings_of("tiny", family=family)
    assert crop_memory(settings).saved > 0


def test_counting_on_shapes_agrees_with_the_closed_form():
    settings = settings_of("S/16", loss=LossSettings(alpha=0.0))
    loss = 4 * 3 * 256 * 256
    assert counted_bytes(settings.model) == pytest.approx(crop_memory(settings).saved - loss, rel=0.05)


def test_recomputing_more_keeps_less():
    kept = [
        crop_memory(replace(settings_of("L/8", precision="bf16"), recompute=policy)).saved
        for policy in ("none", "elementwise", "blocks")
    ]
    assert kept == sorted(kept, reverse=True)
    assert kept[2] < 0.25 * kept[0]


def test_state_of_the_largest_model_under_lion_is_twelve_bytes_a_weight_and_its_copies():
    settings = settings_of("G/8", precision="bf16", optimizer="lion")
    state = state_memory(settings, num_parameters=1_867_979_136, largest_block=0)
    assert (state.total - state.copies) / 1e9 == pytest.approx(22.4, abs=0.05)
    assert state.copies / 1e9 == pytest.approx(3.74, abs=0.01)


@pytest.mark.parametrize(
    ("optimizer", "bytes_per_weight"),
    [
        (OptimizerSettings(name="lion"), 8),
        (OptimizerSettings(name="adamw"), 12),
        (OptimizerSettings(name="sgd"), 4),
        (OptimizerSettings(name="sgd", momentum=0.9), 8),
    ],
)
def test_a_checkpoint_holds_weights_and_what_the_optimizer_remembers(optimizer, bytes_per_weight):
    settings = replace(settings_of("tiny"), optimizer=optimizer)
    assert checkpoint_bytes(settings, num_parameters=1000) == 1000 * bytes_per_weight
    averaged = replace(settings, ema_decay=0.999)
    assert checkpoint_bytes(averaged, num_parameters=1000) == 1000 * (bytes_per_weight + 4)


def test_sharding_divides_the_state_and_adds_the_gathered_blocks():
    settings = settings_of("G/8", precision="bf16")
    whole = state_memory(settings, num_parameters=8_000_000, largest_block=100_000)
    shared = state_memory(settings, num_parameters=8_000_000, largest_block=100_000, num_shards=8)
    assert shared.total - shared.copies == (whole.total - whole.copies) / 8
    assert shared.copies == 2 * 100_000 * (4 + 2 + 4)
