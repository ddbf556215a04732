"""Channel-agnostic encoder: any number of channels in any order, and the three ways to read its tokens."""

import itertools
import json

import pytest
import torch

from phenoscale.errors import UserError
from phenoscale.models.ca_mae import ChannelAgnosticMae
from phenoscale.models.encoder import encoder_of, load_encoder, save_encoder
from phenoscale.models.families import model_config
from phenoscale.models.preprocess import standardize
from tests.support.encoders import CHANNELS, raw_crops

PUBLISHED_BLOCK = {"block": "parallel", "qk_norm": True, "layer_scale_init": 0.1}


def ca_encoder(*, pooling="mean_patch_tokens", facts=None, **changes):
    config = model_config(
        "ca_mae", size="tiny", num_channels=3, crop_size=32, **{**PUBLISHED_BLOCK, **changes}
    )
    model = ChannelAgnosticMae(config, seed=3)
    described = model.encoder_config(
        channels=CHANNELS, intensity_scale=65535.0, pooling=pooling, **(facts or {})
    )
    return encoder_of(model.encoder_weights, described)


def tokens_slowly(encoder, crop_CHW):
    """The tokens of one crop after each block: every patch of every channel projected on its own."""
    vit = encoder.vit
    channels = standardize(crop_CHW[None], intensity_scale=65535.0)[0]
    tokens = [vit.cls_token[0, 0]]
    for channel, place in itertools.product(range(len(channels)), range(16)):
        top, left = 8 * (place // 4), 8 * (place % 4)
        patch = channels[channel, top : top + 8, left : left + 8].reshape(-1)
        tokens.append(
            vit.patch_projection.weight @ patch + vit.patch_projection.bias + vit.positions[1 + place]
        )
    read = torch.stack(tokens)[None]
    for block in vit.blocks:
        read = block(read)
        yield read[0]


@pytest.mark.parametrize("num_channels", [1, 2, 3, 5, 11])
def test_embedding_of_any_number_of_channels_is_the_mean_over_all_patches_of_all_channels(num_channels):
    encoder = ca_encoder()
    crops = raw_crops(2, channels=num_channels)
    with torch.no_grad():
        found = encoder.embed_blocks(crops)
        assert found.shape == (2, 2, encoder.config.embedding_dim)
        for row in range(2):
            for block, tokens in enumerate(tokens_slowly(encoder, crops[row])):
                assert len(tokens) == 1 + 16 * num_channels
                torch.testing.assert_close(found[block, row], tokens[1:].mean(dim=0), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_order_of_channels_changes_the_mean_of_all_patches_by_rounding_only(order):
    for pooling in ("mean_patch_tokens", "class_token"):
        encoder = ca_encoder(pooling=pooling)
        crops = raw_crops(3)
        found = encoder.embed_blocks(crops[:, list(order)])
        torch.testing.assert_close(found, encoder.embed_blocks(crops), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("order", [(1, 2, 0), (2, 1, 0), (2, 2, 1)])
def test_channel_means_follow_their_channels_into_another_order(order):
    encoder = ca_encoder(pooling="channel_means")
    crops = raw_crops(3)
    dim = encoder.vit.config.embedding_dim
    assert encoder.config.embedding_dim == 3 * dim
    if len(set(order)) == 3:
        straight = encoder.embed_blocks(crops).unflatten(2, (3, dim))
        found = encoder.embed_blocks(crops[:, list(order)]).unflatten(2, (3, dim))
        torch.testing.assert_close(found, straight[:, :, list(order)], atol=1e-5, rtol=1e-4)
    else:  # the same stain twice has the same mean twice
        twice = encoder.embed_blocks(crops[:, list(order)]).unflatten(2, (3, dim))
        torch.testing.assert_close(twice[:, :, 0], twice[:, :, 1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("pooling", ["mean_patch_tokens", "class_token", "channel_means"])
@pytest.mark.parametrize("apply_final_norm", [False, True])
def test_every_pooling_reads_what_it_says_off_the_tokens(pooling, apply_final_norm):
    encoder = ca_encoder(pooling=pooling, facts={"apply_final_norm": apply_final_norm})
    crops = raw_crops(2)
    with torch.no_grad():
        found = encoder.embed(crops)
        for row in range(2):
            tokens = list(tokens_slowly(encoder, crops[row]))[-1]
            tokens = encoder.vit.norm(tokens) if apply_final_norm else tokens
            by_channel = [tokens[1 + 16 * c : 17 + 16 * c].mean(dim=0) for c in range(3)]
            expected = {
                "mean_patch_tokens": torch.stack(by_channel).mean(dim=0),
                "class_token": tokens[0],
                "channel_means": torch.cat(by_channel),
            }[pooling]
            torch.testing.assert_close(found[row], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("pooling", ["mean_patch_tokens", "class_token", "channel_means"])
def test_saved_encoder_reads_other_channels_bit_equally(tmp_path, pooling):
    encoder = ca_encoder(pooling=pooling)
    loaded = load_encoder(save_encoder(tmp_path, encoder))
    assert loaded.config == encoder.config
    for num_channels in (1, 3, 6):
        crops = raw_crops(2, channels=num_channels)
        assert torch.equal(loaded.embed(crops), encoder.embed(crops))


def test_legacy_bias_order_travels_with_the_encoder_and_changes_its_embedding(tmp_path):
    plain = ca_encoder()
    for block in plain.vit.blocks:
        torch.nn.init.normal_(block.mlp_bias, generator=torch.Generator().manual_seed(0))
    folder = save_encoder(tmp_path, plain)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "legacy_bias_order": True}))
    legacy, crops = load_encoder(folder), raw_crops(2)
    assert not torch.allclose(legacy.embed(crops), plain.embed(crops), atol=1e-3)
    with torch.no_grad():
        for block in legacy.vit.blocks:
            block.legacy_bias_order = not block.legacy_bias_order  # the corrected order, by hand
    assert torch.equal(legacy.embed(crops), plain.embed(crops))


def test_more_channels_than_the_encoder_has_positions_for_are_a_user_error():
    encoder = ca_encoder()
    with pytest.raises(UserError, match=r"reads \[B, 1 to 11, 32, 32\].*up to 11 channels"):
        encoder.embed(raw_crops(1, channels=12))
    with pytest.raises(UserError, match=r"shape \[1, 3, 40, 40\] do not fit"):
        encoder.embed(raw_crops(1, size=40))
    assert ca_encoder(max_channels=12).embed(raw_crops(1, channels=12)).isfinite().all()
