"""MU-Net: its size beside the published one, what it sees, what its parts do, and that it learns."""

from itertools import pairwise

import pytest
import torch
from torch.nn import functional

from phenoscale.errors import UserError
from phenoscale.models.encoder import encoder_of
from phenoscale.models.losses import LossSettings, loss_terms
from phenoscale.models.mu_net import SIZES, MuNet, MuNetConfig, MuNetDecoder
from phenoscale.models.mu_net_encoder import MuNetPyramid
from phenoscale.models.preprocess import standardize
from phenoscale.models.vit import unpatchify
from tests.support.encoders import CHANNELS, noise, raw_crops


def tiny_config(**changes):
    settings = {"num_channels": 3, "crop_size": 32, "patch_size": 8, "widths": (8, 16, 24), "num_blocks": 2}
    return MuNetConfig(**{**settings, **changes})


def crops_and_noise(num_crops):
    return standardize(raw_crops(num_crops), intensity_scale=65535.0), noise(num_crops)


def expected_parameters(*, channels, widths, num_blocks):
    """Counted from the layers: convolutions with and without bias, and two numbers per channel of a norm."""
    first, last = widths[0], widths[-1]
    pairs = list(pairwise(widths))
    unit = {width: 2 * 9 * width**2 + 4 * width for width in widths}
    encoder = 9 * channels * first + first
    encoder += sum(unit[fine] + 4 * fine * coarse + coarse for fine, coarse in pairs)
    encoder += num_blocks * unit[last]
    decoder = 2 * first + first * channels + channels
    for fine, coarse in pairs:
        up = 2 * coarse + 4 * coarse * fine + fine
        merge = 9 * 2 * fine * fine + 9 * fine**2 + 2 * fine * fine + 4 * fine + 2 * fine
        decoder += up + merge
    return encoder, decoder


# MAE paper tables 3 and 6, in millions, beside what ours has
@pytest.mark.parametrize(("size", "published", "ours"), [("M", 52, 52.7), ("L", 135, 135.3)])
def test_named_sizes_come_within_two_percent_of_the_published_number_of_parameters(size, published, ours):
    config = MuNetConfig(num_channels=6, **SIZES[size])
    with torch.device("meta"):
        encoder = MuNetPyramid(num_channels=6, widths=config.widths, num_blocks=config.num_blocks)
        parts = (encoder, MuNetDecoder(config))
    found = [sum(parameter.numel() for parameter in part.parameters()) for part in parts]
    assert found == list(expected_parameters(channels=6, widths=config.widths, num_blocks=config.num_blocks))
    assert round(sum(found) / 1e6, 1) == ours
    assert sum(found) / 1e6 == pytest.approx(published, rel=0.02)


def test_widths_are_the_published_ones():
    assert SIZES["M"]["widths"] == (32, 64, 128, 256, 512)
    assert SIZES["L"]["widths"] == (32, 64, 128, 256, 512, 1024)


@pytest.mark.parametrize(("ratio", "hidden"), [(0.25, 64), (0.5, 128), (0.75, 192)])
def test_published_masks_hide_that_part_of_256_patches(ratio, hidden):
    config = MuNetConfig(num_channels=6, **{**SIZES["M"], "mask_ratio": ratio})
    assert (config.num_tokens, config.num_tokens - config.num_kept) == (256, hidden)


def test_hidden_patches_do_not_reach_the_prediction():
    model = MuNet(tiny_config()).eval()
    crops, values = crops_and_noise(4)
    with torch.no_grad():
        first = model(crops, values)
        hidden = first.mask_BL.reshape(4, 1, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
        assert (hidden.mean(dim=(1, 2, 3)) == 0.75).all()
        second = model(torch.where(hidden == 1, torch.full_like(crops, 5.0), crops), values)
        seen = model(torch.where(hidden == 0, crops * 1.1, crops), values)
    assert torch.equal(first.prediction_BLP, second.prediction_BLP)
    assert not torch.equal(first.target_BLP, second.target_BLP)
    assert not torch.allclose(first.prediction_BLP, seen.prediction_BLP, atol=1e-3)
    assert torch.equal(unpatchify(first.target_BLP, patch_size=8, num_channels=3), crops)


def test_restoration_equals_the_layers_written_out():
    model = MuNet(tiny_config(), seed=1).eval()
    crops, values = crops_and_noise(2)
    with torch.no_grad():
        found = model(crops, values)
        image = crops.clone()
        for row, column in found.mask_BL.nonzero().tolist():
            top, left = 8 * (column // 4), 8 * (column % 4)
            image[row, :, top : top + 8, left : left + 8] = 0
        expected = restore_slowly(model.state_dict(), image)
    torch.testing.assert_close(
        unpatchify(found.prediction_BLP, patch_size=8, num_channels=3), expected, atol=1e-4, rtol=1e-4
    )


def restore_slowly(weights, image):
    """Two stages down, two units at the bottom, two stages up."""

    def activated(maps, name):
        groups = maps.shape[1] // 8
        scale, shift = weights[f"{name}.weight"], weights[f"{name}.bias"]
        grouped = maps.reshape(len(maps), groups, -1)
        centered = grouped - grouped.mean(dim=2, keepdim=True)
        normed = centered / (centered.square().mean(dim=2, keepdim=True) + 1e-5).sqrt()
        return (normed.reshape(maps.shape) * scale[:, None, None] + shift[:, None, None]).clamp(min=0)

    def convolved(maps, name, **placing):
        return functional.conv2d(maps, weights[f"{name}.weight"], weights.get(f"{name}.bias"), **placing)

    def unit(maps, name):
        hidden = convolved(activated(maps, f"{name}.norm1"), f"{name}.conv1", padding=1)
        hidden = convolved(activated(hidden, f"{name}.norm2"), f"{name}.conv2", padding=1)
        has_kernel = f"{name}.shortcut.weight" in weights
        return hidden + (convolved(maps, f"{name}.shortcut") if has_kernel else maps)

    maps, across = convolved(image, "encoder.stem", padding=1), []
    for stage in range(2):
        across.append(unit(maps, f"encoder.stages.{stage}"))
        maps = convolved(across[-1], f"encoder.downs.{stage}", stride=2)
    for block in range(2):
        maps = unit(maps, f"encoder.blocks.{block}")
    for stage in range(2):
        name = f"decoder.stages.{stage}"
        kernel, bias = weights[f"{name}.up.weight"], weights[f"{name}.up.bias"]
        raised = functional.conv_transpose2d(activated(maps, f"{name}.norm"), kernel, bias, stride=2)
        maps = unit(torch.cat([raised, across[1 - stage]], dim=1), f"{name}.unit")
    return convolved(activated(maps, "decoder.norm"), "decoder.head")


def test_embedding_is_the_mean_over_space_after_each_unit_of_the_bottleneck():
    model = MuNet(tiny_config(), seed=4)
    outputs = []
    for block in model.encoder.blocks:
        block.register_forward_hook(lambda *call: outputs.append(call[-1]))
    raw = raw_crops(3)
    with torch.no_grad():
        model.encoder(standardize(raw, intensity_scale=65535.0))
    encoder = encoder_of(
        model.encoder_weights, model.encoder_config(channels=CHANNELS, intensity_scale=65535.0)
    )
    found = encoder.embed_blocks(raw)
    assert found.shape == (2, 3, 24)
    assert outputs[0].shape == (3, 24, 8, 8)
    for block in range(2):
        torch.testing.assert_close(found[block], outputs[block].mean(dim=(2, 3)))


def test_forward_pass_compiles_into_one_graph_with_the_same_result():
    model = MuNet(tiny_config()).eval()
    crops, values = crops_and_noise(2)

    def loss(crops, values):
        return loss_terms(model(crops, values), loss=LossSettings())["loss"]

    compiled = torch.compile(loss, backend="eager", fullgraph=True)
    assert torch.equal(compiled(crops, values), loss(crops, values))


def test_bfloat16_autocast_stays_close_to_float32():
    model = MuNet(tiny_config(), seed=5)
    crops, values = crops_and_noise(8)
    exact = loss_terms(model(crops, values), loss=LossSettings())["loss"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = loss_terms(model(crops, values), loss=LossSettings())["loss"]
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), rel=0.02)


def test_forty_steps_teach_it_to_continue_the_brightness_of_visible_patches():
    model = MuNet(tiny_config(), seed=6)
    signs = torch.tensor([1.0, -1.0]).repeat(8)
    crops = signs[:, None, None, None].expand(16, 3, 32, 32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for step in range(40):
        loss = loss_terms(model(crops, noise(16, seed=step)), loss=LossSettings(alpha=0.0))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 0.9
    assert losses[-1] < 0.1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"widths": (8,)}, "at least two stages"),
        ({"widths": (8, 12)}, "multiple of 8"),
        ({"widths": (8, 16, 16, 16, 16, 16, 16)}, "cannot be halved 6 times"),
        ({"num_blocks": 0}, "leaves no bottleneck"),
        ({"patch_size": 7}, "patches must tile the crop"),
        ({"mask_ratio": 1.0}, "at least one must be kept and one removed"),
        ({"mask_ratio": 0.0}, "at least one must be kept and one removed"),
    ],
)
def test_dimensions_that_do_not_fit_are_a_user_error(changes, words):
    with pytest.raises(UserError, match=words):
        tiny_config(**changes)
