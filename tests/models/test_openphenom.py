"""OpenPhenom's weights: the released layout, the released forward pass, and the traps in both.

The real weights are not at hand here. The state dict has the names and shapes of the release, because timm
makes them, and random values; two other implementations say what its forward pass gives.
"""

import dataclasses
import math

import pytest
import torch
from torch.nn import functional

from phenoscale.errors import UserError
from phenoscale.models.encoder import load_encoder, save_encoder, trim_encoder
from phenoscale.models.openphenom import import_openphenom
from tests.support.released import openphenom_tensors, released_backbone

STAINS = ("DNA", "ER", "RNA", "AGP", "Mito", "Actin", "a", "b", "c", "d", "e")
BACKBONE = "encoder.vit_backbone."


def imported(tensors, *, num_channels=6, **facts):
    given = {"channels": STAINS[:num_channels], "intensity_scale": 255.0, **facts}
    return import_openphenom(tensors, source="w", **given)


def crops(num=2, *, num_channels=6, size=12):
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (num, num_channels, size, size), generator=generator).to(torch.uint8)


def norm(x, weight, bias):
    centered = x - x.mean(-1, keepdim=True)
    return centered / (centered**2).mean(-1, keepdim=True).add(1e-6).sqrt() * weight + bias


def predict_by_hand(tensors, raw, *, heads=2, patch=4):
    """The released predict() of one crop [C, H, W] in float64, by the formulas of science.md 1.2, 1.7, 3."""
    w = {name.removeprefix(BACKBONE): value.double() for name, value in tensors.items()}
    dim, grid = w["cls_token"].shape[-1], raw.shape[-1] // patch
    tokens = [w["cls_token"].reshape(dim)]
    for channel in raw.double() / 255:
        standard = (channel - channel.mean()) / (channel.var(correction=0) + 1e-5).sqrt()
        for row in range(grid):
            for column in range(grid):
                pixels = standard[row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
                kernel = w["patch_embed.proj.weight"][:, 0]
                projected = (kernel * pixels).sum(dim=(1, 2)) + w["patch_embed.proj.bias"]
                rates = [10000 ** (-index / (dim // 4)) for index in range(dim // 4)]
                position = [
                    f(place * rate) for place in (row, column) for f in (math.sin, math.cos) for rate in rates
                ]
                tokens.append(projected + torch.tensor(position, dtype=torch.float64))
    x = torch.stack(tokens)
    num_blocks = sum(name.endswith("mlp_bias") for name in w)
    for block in range(num_blocks):
        b = {name.removeprefix(f"blocks.{block}."): value for name, value in w.items()}
        hidden = len(b["mlp_bias"])
        # the old order: 3 * dim zeros, then the bias of the MLP, over [mlp | q | k | v]
        inner = norm(x, b["in_norm.weight"], b["in_norm.bias"]) @ b["in_proj.weight"].T
        inner = inner + torch.cat([torch.zeros(3 * dim, dtype=torch.float64), b["mlp_bias"]])
        m, q, k, v = inner.split([hidden, dim, dim, dim], dim=1)
        attended = []
        for head in range(heads):
            own = slice(head * dim // heads, (head + 1) * dim // heads)
            queries = norm(q[:, own], b["q_norm.weight"], b["q_norm.bias"])
            keys = norm(k[:, own], b["k_norm.weight"], b["k_norm.bias"])
            attended.append((queries @ keys.T / math.sqrt(dim / heads)).softmax(dim=1) @ v[:, own])
        activated = m * 0.5 * (1 + torch.erf(m / math.sqrt(2)))
        both = torch.cat(attended, dim=1) @ b["attn_out_proj.weight"].T + b["attn_out_proj.bias"]
        both = both + activated @ b["mlp_out_proj.weight"].T + b["mlp_out_proj.bias"]
        x = x + b["ls.gamma"] * both
    return x[1:]


def predict_by_timm(tensors, raw):
    """The released predict() by timm's own modules: its `norm` does nothing where pooling is `avg`.

    With q, k, v biases timm has one bias for the whole input projection, which can be given in the old order.
    """
    backbone = released_backbone(qkv_bias=True).eval()
    weights = {name.removeprefix(BACKBONE): value for name, value in tensors.items() if BACKBONE in name}
    positions = weights.pop("pos_embed")
    weights["pos_embed"] = backbone.pos_embed
    for name in [name for name in weights if name.endswith("mlp_bias")]:
        bias = weights.pop(name)
        weights[name.replace("mlp_bias", "in_proj.bias")] = torch.cat([torch.zeros(3 * 16), bias])
    backbone.load_state_dict(weights)
    with torch.no_grad():
        standard = functional.instance_norm(raw.float() / 255.0)
        per_channel = [backbone.patch_embed(standard[:, index : index + 1]) for index in range(raw.shape[1])]
        tokens = torch.cat([backbone.cls_token.expand(len(raw), -1, -1), *per_channel], dim=1)
        tokens = backbone.norm_pre(tokens + positions[:, : tokens.shape[1]])
        return backbone.norm(backbone.blocks(tokens))[:, 1:].mean(dim=1)


@pytest.mark.parametrize("num_channels", [1, 2, 5, 11])
def test_imported_encoder_gives_what_the_released_forward_pass_gives(num_channels):
    tensors, raw = openphenom_tensors(), crops(num_channels=num_channels)
    found = imported(tensors, num_channels=num_channels).embed(raw)
    expected = torch.stack([predict_by_hand(tensors, crop).mean(dim=0) for crop in raw])
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)


def test_imported_encoder_gives_what_timm_s_modules_give_with_the_old_bias_order():
    tensors, raw = openphenom_tensors(seed=1), crops(4)
    torch.testing.assert_close(
        imported(tensors).embed(raw), predict_by_timm(tensors, raw), atol=1e-5, rtol=1e-5
    )


def test_the_corrected_bias_order_would_give_other_embeddings():
    encoder, raw = imported(openphenom_tensors()), crops()
    legacy = encoder.embed(raw)
    other = type(encoder)(dataclasses.replace(encoder.config, legacy_bias_order=False)).eval()
    other.weights.load_state_dict(encoder.weights.state_dict())
    assert (other.embed(raw) - legacy).abs().max() > 1e-2


def test_a_norm_behind_the_pooling_is_never_applied_and_one_before_it_is():
    raw = crops()
    behind = openphenom_tensors()
    assert f"{BACKBONE}fc_norm.weight" in behind
    assert f"{BACKBONE}norm.weight" not in behind
    assert not imported(behind).config.apply_final_norm
    before = openphenom_tensors(fc_norm=False)
    encoder = imported(before)
    assert encoder.config.apply_final_norm
    tokens = torch.stack([predict_by_hand(before, crop) for crop in raw])
    gain, shift = before[f"{BACKBONE}norm.weight"].double(), before[f"{BACKBONE}norm.bias"].double()
    expected = norm(tokens, gain, shift).mean(dim=1)
    torch.testing.assert_close(encoder.embed(raw).double(), expected, atol=1e-5, rtol=1e-5)


def test_means_of_the_channels_stand_side_by_side_in_the_order_of_the_channels():
    tensors, raw = openphenom_tensors(), crops(1, num_channels=3)
    found = imported(tensors, num_channels=3, pooling="channel_means").embed(raw)
    by_channel = predict_by_hand(tensors, raw[0]).reshape(3, 9, 16).mean(dim=1)
    torch.testing.assert_close(found.double(), by_channel.reshape(1, 48), atol=1e-5, rtol=1e-5)


def test_one_import_reads_any_number_of_channels_in_any_order():
    encoder = imported(openphenom_tensors(), num_channels=6)
    raw = crops(num_channels=11)
    assert encoder.embed(raw).shape == (2, 16)
    order = torch.tensor([3, 0, 1, 2, 5, 4, 10, 9, 8, 7, 6])
    torch.testing.assert_close(encoder.embed(raw[:, order]), encoder.embed(raw), atol=1e-5, rtol=1e-5)


def test_sixteen_bit_images_give_the_embedding_of_eight_bit_ones_when_their_scale_is_given():
    raw = crops()
    eight = imported(openphenom_tensors()).embed(raw)
    sixteen = imported(openphenom_tensors(), intensity_scale=65535.0).embed(raw.int() * 257)
    torch.testing.assert_close(sixteen, eight, atol=1e-5, rtol=1e-5)


def test_imported_encoder_is_saved_loaded_and_trimmed_without_a_changed_bit(tmp_path):
    encoder, raw = imported(openphenom_tensors(), license="CC-BY-NC-4.0"), crops()
    blocks = encoder.embed_blocks(raw)
    assert torch.equal(load_encoder(save_encoder(tmp_path, encoder)).embed_blocks(raw), blocks)
    card = (tmp_path / "card.md").read_text()
    assert "License: CC-BY-NC-4.0." in card
    assert "1 to 11 channels" in card
    assert "without the final LayerNorm" in card
    assert torch.equal(trim_encoder(encoder, 1).embed(raw), blocks[1])


def test_the_released_size_has_the_published_number_of_parameters():
    shape = {"dim": 384, "num_blocks": 12, "heads": 6, "patch_size": 16, "grid_size": 16}
    encoder = imported(openphenom_tensors(**shape))
    assert (encoder.config.crop_size, encoder.config.patch_size, encoder.config.num_heads) == (256, 16, 6)
    assert (encoder.config.mlp_ratio, encoder.config.max_channels) == (4.0, 11)
    num_parameters = sum(value.numel() for value in encoder.weights.parameters())
    assert round(num_parameters / 1e6, 1) == 21.4  # science.md 1.1: counted


def test_positions_that_are_not_the_published_ones_are_refused():
    tensors = openphenom_tensors()
    tensors[f"{BACKBONE}pos_embed"] = tensors[f"{BACKBONE}pos_embed"].flip(1)
    with pytest.raises(
        UserError, match="positions that differ from the published sine-cosine table by up to"
    ):
        imported(tensors)


def test_a_position_table_of_another_number_of_channels_is_refused():
    tensors = openphenom_tensors()
    tensors[f"{BACKBONE}pos_embed"] = tensors[f"{BACKBONE}pos_embed"][:, :55]
    with pytest.raises(
        UserError, match=r"position table of shape \[1, 55, 16\]; OpenPhenom's has 1 \+ 11 times"
    ):
        imported(tensors)


def test_a_file_of_another_model_is_refused_with_what_it_holds():
    with pytest.raises(UserError, match=r"no encoder\.vit_backbone\.patch_embed.*names begin with blocks"):
        imported({"blocks.0.attn.qkv.weight": torch.zeros(2, 2)})


def test_an_encoder_of_fixed_channels_is_refused_with_its_shape():
    tensors = openphenom_tensors()
    tensors[f"{BACKBONE}patch_embed.proj.weight"] = torch.zeros(16, 6, 4, 4)
    with pytest.raises(UserError, match=r"6 fixed channels: .*\[16, 6, 4, 4\]"):
        imported(tensors)


def test_missing_tensors_are_named_with_their_shapes():
    tensors = openphenom_tensors()
    del tensors[f"{BACKBONE}blocks.1.in_proj.weight"]
    with pytest.raises(UserError, match=r"blocks\.1\.in_proj\.weight \[112, 16\] is missing"):
        imported(tensors)


def test_twelve_channels_and_crops_of_another_size_are_refused_with_the_way_out():
    with pytest.raises(UserError, match="at most 11 channels, got 12"):
        imported(openphenom_tensors(), channels=tuple("abcdefghijkl"))
    with pytest.raises(UserError, match=r"trained on crops of 12 px .* got crop_size 64; leave it out"):
        imported(openphenom_tensors(), crop_size=64)
