"""Attention against timm's own, with the same weights, in every precision."""

import pytest
import torch
from timm.layers.attention import Attention

from phenoscale.models.attention import TokenAttention
from phenoscale.models.blocks import TokenNorm
from phenoscale.models.vit import seeded


def twins(**settings):
    ours, theirs = (kind(24, num_heads=3, qkv_bias=True, **settings) for kind in (TokenAttention, Attention))
    weights = {
        name: torch.randn(value.shape, generator=seeded(index)) * 0.2
        for index, (name, value) in enumerate(ours.state_dict().items())
    }
    ours.load_state_dict(weights)
    theirs.load_state_dict(weights)
    return ours, theirs


@pytest.mark.parametrize("settings", [{}, {"qk_norm": True, "norm_layer": TokenNorm}])
@pytest.mark.parametrize(("autocast", "tolerance"), [(False, 1e-5), (True, 3e-2)])
def test_attention_and_its_gradient_are_timm_s(settings, autocast, tolerance):
    ours, theirs = twins(**settings)
    tokens = torch.randn(4, 17, 24, generator=seeded(9))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        found = ours(tokens)
    found.float().square().sum().backward()
    expected = theirs(tokens)
    expected.square().sum().backward()
    torch.testing.assert_close(found.float(), expected, atol=tolerance, rtol=tolerance)
    # a bias of the keys has no gradient but rounding: compare all against the largest one
    scale = max(parameter.grad.abs().max() for parameter in theirs.parameters())
    for mine, yours in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad / scale, yours.grad / scale, atol=tolerance, rtol=tolerance)


def test_a_mask_is_refused_rather_than_ignored():
    ours, _ = twins()
    with pytest.raises(AssertionError, match="neither masked nor ordered"):
        ours(torch.zeros(1, 4, 24), attn_mask=torch.zeros(4, 4))
