"""What holds for every model of every family, and for the encoder in it. Sizes are those made for tests."""

import dataclasses

import pytest
import torch

from phenoscale.models.encoder import encoder_of, load_encoder, save_encoder, trim_encoder, untrained_encoder
from phenoscale.models.families import FAMILIES, build_model, family_of, model_config
from phenoscale.models.losses import LossSettings, loss_terms
from phenoscale.models.preprocess import standardize

CHANNELS = ("DNA", "ER", "AGP")
SCALE = 65535.0
NUM_CLASSES = 5
VARIANTS = {
    "mae": {"family": "mae", "size": "tiny"},
    "mae of the published block": {
        "family": "mae",
        "size": "tiny",
        "block": "parallel",
        "qk_norm": True,
        "layer_scale_init": 1e-4,
    },
    "ca_mae": {"family": "ca_mae", "size": "tiny"},
    "mu-net": {"family": "mu_net", "size": "tiny"},
    "weakly supervised vit": {"family": "wsl", "size": "tiny"},
    "weakly supervised densenet": {"family": "wsl", "size": "dense-tiny"},
    "weakly supervised densenet with ghost batch norm": {
        "family": "wsl",
        "size": "dense-tiny",
        "ghost_batch": 4,
    },
}


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS.keys())
def config(request):
    return model_config(num_channels=len(CHANNELS), num_classes=NUM_CLASSES, **request.param)


def raw_crops(config, *, num=8):
    shape = (num, len(CHANNELS), config.crop_size, config.crop_size)
    noise = torch.randint(0, 65536, shape, generator=torch.Generator().manual_seed(1), dtype=torch.int32)
    return noise.to(torch.uint16)


def predict(model, raw_BCHW):
    """A forward pass of training, with masks or labels that are always the same."""
    device = next(model.parameters()).device
    crops = standardize(raw_BCHW.to(device), intensity_scale=SCALE)
    if model.num_mask_tokens:
        shape = (len(raw_BCHW), model.num_mask_tokens)
        noise = torch.rand(shape, generator=torch.Generator().manual_seed(2))
        return model(crops, noise.to(device))
    return model(crops, torch.arange(len(raw_BCHW), device=device) % NUM_CLASSES)


def encoder_in(model, **facts):
    config = model.encoder_config(channels=CHANNELS, intensity_scale=SCALE, **facts)
    return encoder_of(model.encoder_weights, config)


def test_every_family_is_among_them():
    assert {variant["family"] for variant in VARIANTS.values()} == set(FAMILIES)


def test_every_family_has_the_sizes_that_tests_and_laptops_need():
    for name, family in FAMILIES.items():
        assert {"tiny", "small"} <= set(family.sizes), name
        for size in family.sizes:
            made = model_config(name, size=size, num_channels=6, num_classes=NUM_CLASSES)
            assert family_of(made) == name


def test_loss_is_a_finite_number_that_heads_the_terms(config):
    terms = loss_terms(predict(build_model(config, seed=0), raw_crops(config)), loss=LossSettings())
    assert next(iter(terms)) == "loss"
    for name, value in terms.items():
        assert value.shape == (), name
        assert value.dtype == torch.float32, name
        assert torch.isfinite(value), name


def test_gradient_reaches_every_parameter(config):
    model = build_model(config, seed=0).train()
    loss_terms(predict(model, raw_crops(config)), loss=LossSettings())["loss"].backward()
    without = [name for name, value in model.named_parameters() if value.grad is None]
    still = [name for name, value in model.named_parameters() if name not in without and not value.grad.any()]
    assert not without
    assert not still


def test_weights_follow_from_the_seed_and_the_random_numbers_of_others_are_left_alone(config):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first, same, other = (build_model(config, seed=seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(value, same[name]) for name, value in first.items())
    assert any(not torch.equal(value, other[name]) for name, value in first.items())


def test_untrained_twin_has_the_weights_from_which_training_with_its_seed_starts(config):
    start = encoder_in(build_model(config, seed=9), seed=9)
    twin = untrained_encoder(start.config)
    crops = raw_crops(config)
    assert torch.equal(twin.embed_blocks(crops), start.embed_blocks(crops))


def test_every_block_is_read_in_one_pass_and_the_chosen_one_by_itself(config):
    encoder = encoder_in(build_model(config, seed=0))
    crops = raw_crops(config)
    blocks_NBD = encoder.embed_blocks(crops)
    assert blocks_NBD.shape == (encoder.num_blocks, len(crops), encoder.config.embedding_dim)
    assert blocks_NBD.dtype == torch.float32
    assert torch.isfinite(blocks_NBD).all()
    for block in range(encoder.num_blocks):
        encoder.config = dataclasses.replace(encoder.config, block=block)
        assert torch.equal(encoder.embed(crops), blocks_NBD[block])


def test_saved_and_loaded_encoder_embeds_bit_equally(config, tmp_path):
    encoder = encoder_in(build_model(config, seed=1), is_trained=True, num_training_crops=8)
    loaded = load_encoder(save_encoder(tmp_path, encoder))
    crops = raw_crops(config)
    assert loaded.config == encoder.config
    assert torch.equal(loaded.embed_blocks(crops), encoder.embed_blocks(crops))


def test_trimmed_encoder_embeds_its_last_block_bit_equally(config):
    encoder = encoder_in(build_model(config, seed=1))
    crops = raw_crops(config)
    blocks_NBD = encoder.embed_blocks(crops)
    for block in range(encoder.num_blocks):
        trimmed = trim_encoder(encoder, block)
        assert trimmed.num_blocks == block + 1
        assert torch.equal(trimmed.embed(crops), blocks_NBD[block])


def test_embedding_does_not_depend_on_the_companions_in_the_minibatch_unless_the_config_says_so(config):
    encoder = encoder_in(build_model(config, seed=1))
    crops = raw_crops(config)
    together_NBD, alone_NBD = encoder.embed_blocks(crops)[:, :4], encoder.embed_blocks(crops[:4])
    if encoder.config.ghost_batch is None:
        torch.testing.assert_close(alone_NBD, together_NBD, atol=1e-5, rtol=1e-5)
    else:
        # moving on by one crop puts every crop among others
        moved_NBD = encoder.embed_blocks(crops.roll(1, dims=0)).roll(-1, dims=1)[:, :4]
        assert not torch.allclose(moved_NBD, together_NBD, atol=1e-5, rtol=1e-5)


def test_blocks_are_parts_of_the_model_each_once(config):
    model = build_model(config, seed=0)
    parts = {id(part) for part in model.modules()}
    blocks = model.blocks()
    assert blocks
    assert len({id(block) for block in blocks}) == len(blocks)
    assert {id(block) for block in blocks} <= parts


def test_compiled_blocks_of_a_transformer_embed_alike(config):
    encoder = encoder_in(build_model(config, seed=1))
    crops = raw_crops(config)
    expected = encoder.embed_blocks(crops)
    runs = []

    def counting(graph, _):
        def run(*arguments):
            runs.append(1)
            return graph(*arguments)

        return run

    encoder.compile_blocks(counting)
    torch.testing.assert_close(encoder.embed_blocks(crops), expected, atol=1e-5, rtol=1e-5)
    is_transformer = hasattr(encoder.weights, "blocks")
    assert len(runs) == (encoder.num_blocks if is_transformer else 0)


@pytest.mark.gpu
def test_gpu_and_cpu_agree(config):
    model = build_model(config, seed=1).eval()
    crops = raw_crops(config)
    on_cpu = loss_terms(predict(model, crops), loss=LossSettings())["loss"].item()
    on_gpu = loss_terms(predict(model.to("cuda"), crops), loss=LossSettings())["loss"].item()
    assert on_gpu == pytest.approx(on_cpu, rel=1e-3)
    encoder = encoder_in(build_model(config, seed=1))
    expected = encoder.embed_blocks(crops)
    torch.testing.assert_close(encoder.to("cuda").embed_blocks(crops).cpu(), expected, atol=1e-3, rtol=1e-3)
