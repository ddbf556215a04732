"""Activation checkpointing: the same gradients with less memory."""

import pytest
import torch
from torch._dynamo.utils import counters

from phenoscale.errors import UserError
from phenoscale.models.families import build_model
from phenoscale.models.losses import LossSettings, loss_terms
from phenoscale.training.recompute import recompute_blocks
from tests.support.pretraining import family_model, tiny_model

MODELS = {
    "mae": lambda: tiny_model(drop_path_rate=0.5),
    "published": lambda: tiny_model(
        drop_path_rate=0.5, block="parallel", qk_norm=True, layer_scale_init=1e-4
    ),
    "ca_mae": lambda: family_model("ca_mae", drop_path_rate=0.5),
    "mu_net": lambda: family_model("mu_net"),
    "wsl": lambda: family_model("wsl", drop_path_rate=0.5),
    "wsl_ghost": lambda: family_model("wsl", size="dense-tiny", ghost_batch=4),
}


def loss_of(config, *, policy, compile_blocks=False):
    """The loss of one minibatch with stochastic depth, and the model."""
    model = build_model(config, seed=1).train()
    generator = torch.Generator().manual_seed(0)
    crops = torch.randn(8, 3, config.crop_size, config.crop_size, generator=generator)
    if model.num_mask_tokens:
        noise_or_labels = torch.rand(8, model.num_mask_tokens, generator=generator)
    else:
        noise_or_labels = torch.arange(8) % 5
    recompute_blocks(model.blocks(), policy=policy)
    if compile_blocks:
        for block in model.blocks():
            block.compile(backend="aot_eager")  # inductor takes a minute, and its own random numbers
    torch.manual_seed(7)
    return loss_terms(model(crops, noise_or_labels), loss=LossSettings())["loss"], model


def step(config, **how):
    """The loss and all gradients."""
    loss, model = loss_of(config, **how)
    loss.backward()
    return loss.item(), {name: value.grad for name, value in model.named_parameters()}


def kept_bytes(config, *, policy):
    """What autograd keeps for the backward pass."""
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        _loss = loss_of(config, policy=policy)
    return sum(kept.values())


@pytest.mark.parametrize("policy", ["elementwise", "blocks"])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_gradients_are_the_same_with_the_same_stochastic_depth(name, policy):
    config = MODELS[name]()
    loss, gradients = step(config, policy="none")
    again, recomputed = step(config, policy=policy)
    assert again == loss
    assert recomputed.keys() == gradients.keys()
    for key, gradient in gradients.items():
        assert torch.equal(recomputed[key], gradient), key


def test_recomputed_blocks_keep_little_more_than_their_inputs():
    config = tiny_model(num_blocks=8, embedding_dim=32, num_heads=4)
    assert kept_bytes(config, policy="blocks") < 0.5 * kept_bytes(config, policy="none")


# torch looks at the gradient of a block's input while it compiles the block, and warns of operations in place
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("policy", ["none", "elementwise", "blocks"])
def test_compiled_blocks_have_the_same_gradients_whatever_is_recomputed(policy):
    config = tiny_model(drop_path_rate=0.5)
    loss, gradients = step(config, policy="none")
    torch._dynamo.reset()
    counters.clear()
    compiled_loss, compiled = step(config, policy=policy, compile_blocks=True)
    assert counters["stats"]["unique_graphs"] >= 2  # encoder and decoder, not left to Python
    assert not counters["graph_break"]
    assert compiled_loss == pytest.approx(loss, rel=1e-6)
    for key, gradient in gradients.items():
        torch.testing.assert_close(compiled[key], gradient, rtol=1e-4, atol=1e-6)


def test_model_that_averages_its_minibatches_is_refused():
    model = build_model(family_model("wsl", size="dense-tiny"), seed=0)
    with pytest.raises(UserError, match="running averages of batch norm"):
        recompute_blocks(model.blocks(), policy="blocks")
    recompute_blocks(model.blocks(), policy="none")
