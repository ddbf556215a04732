"""Untrained convolutions keep the power of what goes through them."""

import pytest
import torch
from torch import nn

from phenoscale.models.convolutions import initialize_convolutions
from phenoscale.models.vit import seeded


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(32, 64, 3, padding=1),
        nn.Conv2d(64, 32, 1, bias=False),
        nn.Conv2d(32, 64, 2, stride=2),
        nn.ConvTranspose2d(64, 32, 2, stride=2),
        nn.ConvTranspose2d(64, 32, 4, stride=2),
    ],
)
def test_what_relu_has_halved_comes_out_with_the_power_that_it_had_before(layer):
    initialize_convolutions(layer, generator=seeded(0))
    before = torch.randn(4, layer.in_channels, 16, 16, generator=seeded(1))
    with torch.no_grad():
        after = layer(before.relu())[:, :, 2:-2, 2:-2]
    assert after.square().mean().item() == pytest.approx(before.square().mean().item(), rel=0.15)


def test_biases_start_at_zero_and_norms_at_one():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(1, 8), nn.Flatten(), nn.Linear(8, 4))
    initialize_convolutions(network, generator=seeded(0))
    assert not network[0].bias.any()
    assert not network[3].bias.any()
    assert (network[1].weight == 1).all()
