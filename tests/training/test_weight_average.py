"""Averaged weights against their definition, one number at a time."""

import torch

from phenoscale.training.weight_average import WeightAverage


def test_average_equals_its_sum_over_all_steps():
    decay, layer = 0.9, torch.nn.Linear(3, 2)
    history = [layer.weight.detach().clone().double()]
    average = WeightAverage(layer, decay=decay)
    generator = torch.Generator().manual_seed(0)
    for _ in range(12):
        layer.weight.data = torch.randn(2, 3, generator=generator)
        history.append(layer.weight.detach().clone().double())
        average.update()
    shares = [decay**12] + [(1 - decay) * decay ** (12 - step) for step in range(1, 13)]
    expected = sum(share * weight for share, weight in zip(shares, history, strict=True))
    torch.testing.assert_close(average.weights["weight"].double(), expected, rtol=0, atol=1e-6)


def test_weights_are_exchanged_and_come_back_bit_for_bit():
    layer = torch.nn.Linear(5, 4)
    average = WeightAverage(layer, decay=0.5)
    layer.weight.data = torch.randn(4, 5)
    average.update()
    own, averaged = layer.weight.detach().clone(), average.weights["weight"].clone()
    with average.applied():
        assert torch.equal(layer.weight, averaged)
        assert torch.equal(average.weights["weight"], own)
    assert torch.equal(layer.weight, own)
    assert torch.equal(average.weights["weight"], averaged)
    average.exchange()
    assert torch.equal(layer.weight, averaged)
