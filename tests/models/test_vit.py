"""The vision transformer against timm's own, the published sizes, and its patches."""

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer as TimmTransformer

from phenoscale.errors import UserError
from phenoscale.models.families import FAMILIES, model_config
from phenoscale.models.mae import Decoder, MaskedAutoencoder
from phenoscale.models.vit import (
    VisionTransformer,
    VisionTransformerConfig,
    initialize,
    patchify,
    seeded,
    unpatchify,
)
from tests.support.encoders import raw_crops

# science.md 1.1, counted parameters of encoders for six channels, in millions; without fixed positions
PUBLISHED_PARAMETERS = {"S/16": 21.9, "B/16": 86.2, "B/8": 85.3, "L/16": 303.8, "L/8": 302.6, "G/8": 1841.7}


def small_config(**changes):
    sizes = {"num_channels": 3, "crop_size": 32, "patch_size": 8, "embedding_dim": 24}
    return VisionTransformerConfig(**{**sizes, "num_blocks": 3, "num_heads": 2, **changes})


def num_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("size", "millions"), PUBLISHED_PARAMETERS.items())
def test_named_sizes_have_the_published_number_of_parameters(size, millions):
    config = model_config("mae", size=size, num_channels=6)
    with torch.device("meta"):
        encoder, decoder = VisionTransformer(config.encoder), Decoder(config)
    assert round(num_parameters(encoder) / 1e6, 1) == millions
    assert 25.6 <= round(num_parameters(decoder) / 1e6, 1) <= 26.5


@pytest.mark.parametrize(("size", "millions", "digits"), [("L/8", 328.6, 1), ("G/8", 1868, 0)])
def test_encoder_and_decoder_together_have_the_published_number_of_parameters(size, millions, digits):
    with torch.device("meta"):
        model = MaskedAutoencoder(model_config("mae", size=size, num_channels=6))
    assert round(num_parameters(model) / 1e6, digits) == millions


@pytest.mark.parametrize(("letter", "rate"), [("S", 0.1), ("B", 0.1), ("L", 0.3), ("G", 0.6)])
def test_published_sizes_have_the_published_stochastic_depth_and_block(letter, rate):
    sizes = [size for size in FAMILIES["mae"].sizes if size.startswith(f"{letter}/")]
    assert sizes
    for size in sizes:
        config = model_config("mae", size=size, num_channels=6)
        block = (config.block, config.qk_norm, config.layer_scale_init, config.drop_path_rate)
        assert block == ("parallel", True, 1e-4, rate)


def test_standard_blocks_compute_what_timm_computes():
    config = small_config()
    vit = VisionTransformer(config)
    initialize(vit, generator=seeded(4))
    timm_vit = TimmTransformer(
        img_size=32,
        patch_size=8,
        in_chans=3,
        num_classes=0,
        embed_dim=24,
        depth=3,
        num_heads=2,
    )
    weights = {name: value for name, value in vit.state_dict().items() if not name.startswith("patch_")}
    weights["pos_embed"] = vit.positions[None]
    weights["patch_embed.proj.weight"] = vit.patch_projection.weight.reshape(24, 3, 8, 8)
    weights["patch_embed.proj.bias"] = vit.patch_projection.bias
    timm_vit.load_state_dict(weights)
    crops = torch.randn(5, 3, 32, 32, generator=seeded(0))
    with torch.no_grad():
        expected = timm_vit.eval().forward_features(crops)
        found = vit.eval()(patchify(crops, patch_size=8))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_unpatchify_also_takes_patches_of_single_channels():
    crops = raw_crops(2)
    alone = torch.cat([patchify(crops[:, [channel]], patch_size=8) for channel in range(3)], dim=1)
    assert torch.equal(unpatchify(alone, num_channels=3, patch_size=8), crops)


def test_a_patch_reshapes_to_its_channels_and_pixels():
    crops = raw_crops(2)
    patches = patchify(crops, patch_size=8)
    assert patches.shape == (2, 16, 3 * 64)
    for index in range(16):
        top, left = 8 * (index // 4), 8 * (index % 4)
        expected = crops[1, :, top : top + 8, left : left + 8]
        np.testing.assert_array_equal(patches[1, index].reshape(3, 8, 8), expected)


def test_unpatchify_undoes_patchify_to_the_last_bit():
    crops = raw_crops(2)
    assert torch.equal(unpatchify(patchify(crops, patch_size=8), num_channels=3, patch_size=8), crops)


@pytest.mark.parametrize("block", ["standard", "parallel"])
def test_weights_follow_from_the_seed_alone_and_global_randomness_is_untouched(block):
    before = torch.get_rng_state()
    models = []
    for seed in (7, 7, 8):
        vit = VisionTransformer(small_config(block=block, qk_norm=True, layer_scale_init=1e-4))
        initialize(vit, generator=seeded(seed))
        models.append(vit.state_dict())
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    differing = {name for name in models[0] if not torch.equal(models[0][name], models[2][name])}
    matrices = {name for name, value in models[0].items() if value.ndim >= 2}
    assert differing == matrices


def test_published_block_has_no_query_key_or_value_bias_and_one_layer_scale():
    vit = VisionTransformer(small_config(block="parallel", qk_norm=True, layer_scale_init=1e-4))
    names = {name for name, _ in vit.blocks[0].named_parameters()}
    assert "in_proj.bias" not in names
    assert {"mlp_bias", "q_norm.weight", "k_norm.weight", "ls.gamma"} <= names
    assert torch.equal(vit.blocks[0].ls.gamma, torch.full((24,), 1e-4))


def test_drop_path_rises_linearly_over_the_blocks():
    vit = VisionTransformer(small_config(drop_path_rate=0.3))
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in vit.blocks]
    assert rates == pytest.approx([0.0, 0.15, 0.3])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"patch_size": 7}, "patches must tile the crop"),
        ({"embedding_dim": 22}, "multiple of 4"),
        ({"num_heads": 5}, "number of heads"),
        ({"legacy_bias_order": True}, "a matter of parallel blocks, and these are standard"),
    ],
)
def test_dimensions_that_do_not_fit_are_a_user_error(changes, words):
    with pytest.raises(UserError, match=words):
        small_config(**changes)


def test_keys_start_equal_to_queries_so_that_tokens_first_attend_to_their_like():
    vit = VisionTransformer(small_config())
    initialize(vit, generator=seeded(0))
    for block in vit.blocks:
        dim = block.attn.qkv.in_features
        query, key, value = block.attn.qkv.weight.split(dim)
        assert torch.equal(query, key)
        assert not torch.equal(query, value)
