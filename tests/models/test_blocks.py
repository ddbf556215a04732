"""The parallel block against timm's, its legacy bias order against plain algebra and the old release."""

import json

import numpy as np
import pytest
import torch
from scipy.special import erf, softmax
from timm.models.vision_transformer import ParallelScalingBlock

from phenoscale.models.blocks import ParallelBlock, StochasticDepth, TokenNorm
from phenoscale.models.vit import seeded
from tests.golden.legacy_block import GOLDEN_FILE, golden_tokens, golden_weights

DIM, NUM_HEADS = 24, 3


def parallel_block(**changes):
    settings = {"qk_norm": True, "layer_scale_init": 1e-4}
    return draw_weights(ParallelBlock(DIM, NUM_HEADS, **{**settings, **changes}))


def draw_weights(block):
    """Weights that leave no parameter without effect: biases and norms are not at their neutral values."""
    shapes = {name: value.shape for name, value in block.state_dict().items()}
    block.load_state_dict(
        {
            name: torch.randn(shape, generator=seeded(i)) * 0.3
            for i, (name, shape) in enumerate(shapes.items())
        }
    )
    return block


def some_tokens():
    return torch.randn(4, 17, DIM, generator=seeded(99))


def loss_of(tokens):
    return (tokens.float() * torch.linspace(-1, 1, tokens.numel()).reshape(tokens.shape)).sum()


@pytest.mark.parametrize("changes", [{}, {"qk_norm": False}, {"layer_scale_init": None}, {"mlp_ratio": 2.0}])
@pytest.mark.parametrize(("autocast", "tolerance"), [(False, 1e-5), (True, 3e-2)])
def test_corrected_block_and_its_gradient_are_timm_s(changes, autocast, tolerance):
    ours = parallel_block(**changes)
    settings = {"qk_norm": True, "layer_scale_init": 1e-4, "mlp_ratio": 4.0, **changes}
    scale = settings.pop("layer_scale_init")
    theirs = ParallelScalingBlock(DIM, NUM_HEADS, init_values=scale, norm_layer=TokenNorm, **settings)
    theirs.load_state_dict(ours.state_dict())
    mine, yours = some_tokens().requires_grad_(), some_tokens().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        found = ours(mine)
    expected = theirs(yours)
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)
    loss_of(found).backward()
    loss_of(expected).backward()
    pairs = [(mine, yours), *zip(ours.parameters(), theirs.parameters(), strict=True)]
    largest = max(theirs_one.grad.abs().max() for _, theirs_one in pairs)
    for one, other in pairs:
        torch.testing.assert_close(one.grad / largest, other.grad / largest, atol=tolerance, rtol=tolerance)


def legacy_block_slowly(weights, tokens_BLD, *, num_heads):
    """science.md 11.1, crop by crop and head by head in float64.

    The bias is the row [zeros of q, k, v | MLP bias]; what it is added to is cut into [MLP | q | k | v].
    """
    w = {name: value.double().numpy() for name, value in weights.items()}
    dim, hidden = tokens_BLD.shape[2], len(w["mlp_bias"])
    head_dim = dim // num_heads

    def norm(x, name):
        centered = x - x.mean(axis=-1, keepdims=True)
        scaled = centered / np.sqrt((centered**2).mean(axis=-1, keepdims=True) + 1e-6)
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    updated = []
    for x in tokens_BLD.double().numpy():
        row = norm(x, "in_norm") @ w["in_proj.weight"].T
        row = row + np.concatenate([np.zeros(3 * dim), w["mlp_bias"]])
        m, q, k, v = np.split(row, [hidden, hidden + dim, hidden + 2 * dim], axis=1)
        heads = []
        for head in range(num_heads):
            part = slice(head * head_dim, (head + 1) * head_dim)
            queries, keys = norm(q[:, part], "q_norm"), norm(k[:, part], "k_norm")
            heads.append(softmax(queries @ keys.T / np.sqrt(head_dim), axis=1) @ v[:, part])
        attended = np.concatenate(heads, axis=1) @ w["attn_out_proj.weight"].T + w["attn_out_proj.bias"]
        activated = 0.5 * m * (1 + erf(m / np.sqrt(2)))
        out = activated @ w["mlp_out_proj.weight"].T + w["mlp_out_proj.bias"]
        updated.append(x + w["ls.gamma"] * (attended + out))
    return np.stack(updated)


def test_legacy_block_equals_the_matrix_algebra_of_the_released_order():
    block = parallel_block(legacy_bias_order=True)
    tokens = some_tokens()
    expected = legacy_block_slowly(block.state_dict(), tokens, num_heads=NUM_HEADS)
    with torch.no_grad():
        np.testing.assert_allclose(block(tokens), expected, atol=1e-4, rtol=1e-4)
        corrected = parallel_block()(tokens)
    assert np.abs(corrected.numpy() - expected).max() > 0.1


def test_both_orders_agree_where_the_mlp_bias_is_zero():
    legacy, corrected = parallel_block(legacy_bias_order=True), parallel_block()
    for block in (legacy, corrected):
        torch.nn.init.zeros_(block.mlp_bias)
    assert torch.equal(legacy(some_tokens()), corrected(some_tokens()))


def test_legacy_block_gives_the_golden_numbers_of_the_old_release():
    block = ParallelBlock(8, 2, qk_norm=True, layer_scale_init=1e-4, legacy_bias_order=True)
    block.load_state_dict(golden_weights())
    golden = np.array(json.loads(GOLDEN_FILE.read_text())["tokens_BLD"])
    with torch.no_grad():
        np.testing.assert_allclose(block(golden_tokens()), golden, atol=1e-5)
        corrected = ParallelBlock(8, 2, qk_norm=True, layer_scale_init=1e-4)
        corrected.load_state_dict(golden_weights())
        assert np.abs(corrected(golden_tokens()).numpy() - golden).max() > 0.1


@pytest.mark.parametrize("legacy", [False, True])
def test_block_compiles_into_one_graph_with_the_same_result(legacy):
    block = parallel_block(legacy_bias_order=legacy, drop_path=0.0)
    compiled = torch.compile(block, backend="eager", fullgraph=True)
    assert torch.equal(compiled(some_tokens()), block(some_tokens()))


def test_dropped_paths_leave_a_crop_as_it_was_and_kept_ones_are_scaled_up():
    block = parallel_block(drop_path=0.5)
    tokens = some_tokens().repeat(8, 1, 1)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        change = block(tokens) - tokens
        full = block.eval()(tokens) - tokens
    dropped = change.flatten(1).abs().sum(dim=1) == 0
    assert 4 < dropped.sum() < 28
    torch.testing.assert_close(change[~dropped], 2 * full[~dropped], atol=1e-4, rtol=1e-4)


def test_blocks_of_any_drop_rate_share_one_compiled_graph():
    graphs = []

    def count(graph, _):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    blocks = [parallel_block(drop_path=rate).train() for rate in torch.linspace(0.01, 0.6, 12).tolist()]
    for block in blocks:
        block.compile(backend=count)
        block(some_tokens())
    torch.compiler.reset()
    assert len(graphs) == 1


def test_stochastic_depth_drops_as_often_as_asked_and_keeps_the_mean():
    depth = StochasticDepth(0.25).train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kept = depth(torch.ones(20_000, 1, 1)).flatten()
    assert sorted(set(kept.tolist())) == pytest.approx([0.0, 1 / 0.75])
    assert (kept == 0).float().mean().item() == pytest.approx(0.25, abs=0.015)  # five standard errors
    assert torch.equal(depth.eval()(torch.ones(8, 1, 1)), torch.ones(8, 1, 1))
