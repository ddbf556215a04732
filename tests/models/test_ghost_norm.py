"""Ghost batch norm against a loop over groups, and against ordinary batch norm where both must agree."""

import pytest
import torch
from timm.models.densenet import DenseNet

from phenoscale.errors import UserError
from phenoscale.models.ghost_norm import GhostBatchNorm, swap_batch_norms
from phenoscale.models.vit import seeded

GROUP = 4


def maps(num_crops, *, shape=(3, 5, 5), seed=0):
    return 2.0 + 3.0 * torch.randn(num_crops, *shape, generator=seeded(seed))


def ghost_norm(num_channels=3):
    norm = GhostBatchNorm(num_channels, ghost_batch=GROUP, act=torch.nn.ReLU())
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2.0, num_channels))
        norm.bias.copy_(torch.linspace(-0.3, 0.4, num_channels))
    return norm


def groups_of(values):
    """Groups one after the other, the last smaller one merged into the one before it."""
    groups = list(values.split(GROUP))
    if len(groups) > 1 and len(groups[-1]) < GROUP:
        groups[-2:] = [torch.cat(groups[-2:])]
    return groups


def normalize_slowly(norm, values):
    done = [
        torch.nn.functional.batch_norm(group, None, None, norm.weight, norm.bias, training=True)
        for group in groups_of(values)
    ]
    return torch.cat(done).clamp(min=0)


@pytest.mark.parametrize("shape", [(3, 5, 5), (3,)])
@pytest.mark.parametrize("num_crops", [2, 3, 4, 5, 7, 8, 9, 11, 12, 13])
def test_values_and_gradients_equal_a_loop_over_groups(num_crops, shape):
    found_at, expected_at = (maps(num_crops, shape=shape).requires_grad_() for _ in range(2))
    found_norm, expected_norm = ghost_norm(), ghost_norm()
    found, expected = found_norm(found_at), normalize_slowly(expected_norm, expected_at)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    slope = torch.randn(found.shape, generator=seeded(1))
    (found * slope).sum().backward()
    (expected * slope).sum().backward()
    pairs = [(found_at, expected_at), (found_norm.weight, expected_norm.weight)]
    for mine, slow in [*pairs, (found_norm.bias, expected_norm.bias)]:
        torch.testing.assert_close(mine.grad, slow.grad, atol=1e-5, rtol=1e-4)


def test_groups_of_published_size_hold_sixteen_consecutive_crops():
    values = maps(48)
    found = GhostBatchNorm(3, ghost_batch=16)(values)
    for start in (0, 16, 32):
        group = found[start : start + 16]
        torch.testing.assert_close(group.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
        torch.testing.assert_close(
            group.var(dim=(0, 2, 3), correction=0), torch.ones(3), atol=1e-4, rtol=1e-4
        )


def test_training_and_inference_do_the_same_and_nothing_is_remembered():
    norm = ghost_norm()
    before = norm.train()(maps(8))
    norm(maps(8, seed=5))
    assert torch.equal(norm.eval()(maps(8)), before)
    assert list(norm.state_dict()) == ["weight", "bias"]


def test_order_within_a_group_has_no_say_and_companions_have():
    norm, values = ghost_norm(), maps(12)
    expected = norm(values)
    within = torch.tensor([2, 0, 3, 1, 7, 6, 5, 4, 9, 8, 11, 10])
    torch.testing.assert_close(norm(values[within]), expected[within], atol=1e-5, rtol=1e-5)
    across = torch.arange(12).roll(2)
    assert not torch.allclose(norm(values[across]), expected[across], atol=1e-2)


def test_what_a_plate_scales_and_shifts_is_taken_out():
    norm, plate = ghost_norm(), maps(8)
    scale, shift = torch.tensor([0.5, 2.0, 3.0]), torch.tensor([4.0, -1.0, 0.0])
    moved = plate * scale[:, None, None] + shift[:, None, None]
    torch.testing.assert_close(norm(moved), norm(plate), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("minibatch", [GROUP, 2 * GROUP])
def test_minibatches_of_whole_groups_give_what_the_whole_plate_gives(minibatch):
    norm, plate = ghost_norm(), maps(19)
    pieces = list(plate.split(minibatch))
    pieces[-2:] = [torch.cat(pieces[-2:])]
    torch.testing.assert_close(torch.cat([norm(piece) for piece in pieces]), norm(plate))


def test_a_swapped_network_trains_as_ordinary_batch_norm_does_on_one_group():
    torch.manual_seed(0)
    ordinary, swapped = (
        DenseNet(growth_rate=4, block_config=(2, 2), in_chans=2, num_classes=0) for _ in range(2)
    )
    names = [name for name, _ in ordinary.named_parameters()]
    assert [name for name, _ in swap_batch_norms(swapped, ghost_batch=GROUP).named_parameters()] == names
    swapped.load_state_dict(dict(ordinary.named_parameters()))
    crops = maps(GROUP, shape=(2, 32, 32))
    expected = ordinary.train()(crops)
    torch.testing.assert_close(swapped.eval()(crops), expected, atol=1e-5, rtol=1e-4)
    kinds = {type(child) for child in swapped.modules()}
    assert not any(issubclass(kind, torch.nn.BatchNorm2d) for kind in kinds)


def test_swapping_keeps_the_weights():
    network = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5, eps=1e-3))
    torch.nn.init.normal_(network[1].weight)
    expected = network(values := maps(4, shape=(3,)))
    torch.testing.assert_close(swap_batch_norms(network, ghost_batch=GROUP)(values), expected)


def test_a_single_crop_is_a_user_error_that_says_what_it_lacks():
    with pytest.raises(UserError, match="at least 2 crops of one plate, got 1"):
        ghost_norm()(maps(1))


def test_groups_of_one_crop_are_a_user_error():
    with pytest.raises(UserError, match=r"ghost_batch 1 is too small.*published: 16"):
        GhostBatchNorm(3, ghost_batch=1)
