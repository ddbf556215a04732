"""Operations of a model: what is printed in the literature, what torch counts, and the closed form agree."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from phenoscale.errors import UserError
from phenoscale.models.families import FAMILIES, model_config
from phenoscale.models.flops import (
    block_flops,
    forward_flops,
    meta_model,
    paper_flops,
    paper_flops_of,
    training_flops,
    vit_flops,
)
from tests.support.pretraining import tiny_model

# science.md table 1.9: forward GFLOP of a crop of 256 px and 6 channels: all tokens, and those the mask keeps
PUBLISHED = {
    "S/16": (12.1, 2.8),
    "B/16": (46.1, 11.2),
    "B/8": (212.8, 46.1),
    "L/16": (161.7, 39.7),
    "L/8": (722.4, 161.7),
    "G/8": (4108, 967),
}


def as_printed(flops, *, like):
    return round(flops / 1e9, 1 if isinstance(like, float) else None)


@pytest.mark.parametrize("size", PUBLISHED)
def test_table_of_encoders_is_reproduced_as_printed(size):
    whole, visible = PUBLISHED[size]
    config = model_config("mae", size=size, num_channels=6)
    assert as_printed(vit_flops(config.encoder), like=whole) == whole
    assert as_printed(vit_flops(config.encoder, num_visible=config.num_kept), like=visible) == visible


def test_channel_agnostic_encoder_of_six_channels_is_reproduced_as_printed():
    config = model_config("ca_mae", size="S/16", num_channels=6)
    assert as_printed(vit_flops(config.encoder, num_visible=config.num_tokens), like=108.8) == 108.8
    assert as_printed(vit_flops(config.encoder, num_visible=config.num_kept), like=19.1) == 19.1


@pytest.mark.parametrize(
    ("family", "size", "kept"),
    [("mae", "B/16", 64), ("mae", "L/8", 256), ("ca_mae", "S/16", 384), ("ca_mae", "L/16", 230)],
)
def test_the_mask_keeps_as_many_tokens_as_published(family, size, kept):
    assert model_config(family, size=size, num_channels=6).num_kept == kept


def test_trimming_the_largest_encoder_to_38_blocks_saves_a_fifth_as_printed():
    whole = model_config("mae", size="G/8", num_channels=6).encoder
    trimmed = vit_flops(replace(whole, num_blocks=38))
    assert as_printed(trimmed, like=3252) == 3252
    assert round(trimmed / vit_flops(whole) - 1, 2) == -0.21


@pytest.mark.parametrize("size", ["small", *PUBLISHED])
def test_torch_counts_the_blocks_of_the_closed_form_and_the_patch_projection(size):
    config = model_config("mae", size=size, num_channels=6).encoder
    encoder = meta_model(model_config("mae", size=size, num_channels=6)).encoder
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        encoder(torch.empty(1, config.num_tokens, config.patch_dim, device="meta"))
    projection = 2 * config.num_tokens * config.patch_dim * config.embedding_dim
    assert counter.get_total_flops() == vit_flops(config) + projection


def test_operations_of_a_forward_pass_with_mask_and_decoder_in_closed_form():
    config = tiny_model()  # 16 patches of 3 x 8 x 8 pixels, 4 of them kept; one class token
    pixels, encoder, decoder = 3 * 8 * 8, 1 + 4, 1 + 16
    expected = (
        2 * 4 * pixels * 16
        + 2 * block_flops(encoder, dim=16, hidden=64)
        + 2 * encoder * 16 * 16
        + block_flops(decoder, dim=16, hidden=64)
        + 2 * 16 * 16 * pixels
    )
    assert forward_flops(config) == expected
    assert training_flops(config) == 3 * expected


def test_a_backward_pass_takes_twice_the_operations_of_a_forward_pass():
    config = tiny_model()
    model = meta_model(config)
    # with gradients of the crops the first projection has two products in the backward pass, too
    crops = torch.empty(2, 3, 32, 32, device="meta", requires_grad=True)
    noise = torch.empty(2, config.num_tokens, device="meta")
    with FlopCounterMode(display=False) as counter:
        model(crops, noise).prediction_BLP.sum().backward()
    assert counter.get_total_flops() == 2 * training_flops(config)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_can_be_counted_on_shapes_alone(family):
    config = model_config(family, size="tiny", num_channels=3, num_classes=5)
    assert forward_flops(config) > 0


def test_the_papers_rule_is_their_table_times_two_factors():
    assert paper_flops("L", patch_size=16) == round(61.6e9 * 1.69)
    assert paper_flops("L", patch_size=8) == 16 * paper_flops("L", patch_size=16)
    with pytest.raises(UserError, match="G/8"):
        paper_flops("G", patch_size=8)


@pytest.mark.parametrize(
    ("family", "size", "expected"),
    [
        ("mae", "L/8", ("L", 8)),
        ("mae", "S/16", ("S", 16)),
        ("wsl", "B/16", ("B", 16)),
        ("mae", "G/8", None),
        ("mae", "small", None),
        ("ca_mae", "S/16", None),  # a token for each channel: the rule was never said for it
        ("wsl", "densenet161", None),
        ("mu_net", "tiny", None),
    ],
)
def test_the_papers_rule_is_used_for_the_models_that_it_was_made_for(family, size, expected):
    config = model_config(family, size=size, num_channels=6, num_classes=5)
    wanted = None if expected is None else paper_flops(expected[0], patch_size=expected[1])
    assert paper_flops_of(config) == wanted


@pytest.mark.parametrize(("size", "gflops"), [("S/16", 4.6), ("B/16", 17.6), ("L/16", 61.6)])
def test_touvrons_table_counts_a_multiplication_with_its_addition_as_one(size, gflops):
    natural = replace(model_config("mae", size=size, num_channels=3).encoder, crop_size=224)
    projection = 2 * natural.num_tokens * natural.patch_dim * natural.embedding_dim
    assert round((vit_flops(natural) + projection) / 2 / 1e9, 1) == gflops
