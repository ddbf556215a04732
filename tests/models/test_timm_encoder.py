"""Any vision transformer of timm: weights from a file, blocks one by one, its rules for channels and size."""

import dataclasses
import logging
import os
import subprocess
import sys

import pytest
import timm
import torch
from torch.nn import functional

from phenoscale.errors import UserError
from phenoscale.models.encoder import load_encoder, save_encoder, trim_encoder, untrained_encoder
from phenoscale.models.presets import TIMM_PRESETS
from phenoscale.models.timm_encoder import import_timm, timm_encoder_config

# timm's own miniatures: a class token; no class token but a register, pooled by `avg`; pooled by attention
MODELS = ("test_vit", "test_vit2", "test_vit3")
STAINS = ("DNA", "ER", "RNA", "AGP", "Mito", "Actin")


def released(name, *, seed=0, num_classes=1000, **settings):
    """A timm model with random weights, biases and positions included."""
    model = timm.create_model(name, pretrained=False, num_classes=num_classes, **settings).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn(value.shape, generator=generator) * 0.05)
    return model


def described(name, **settings):
    return timm_encoder_config(
        name, **{"channels": STAINS, "crop_size": 160, "intensity_scale": 255.0, **settings}
    )


def imported(model, name, **settings):
    return import_timm(described(name, **settings), model.state_dict(), source="w")


def crops(num=2, *, num_channels=6, size=160):
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (num, num_channels, size, size), generator=generator).to(torch.uint8)


def standard(raw):
    return functional.instance_norm(raw.float() / 255.0)


@pytest.mark.parametrize("name", MODELS)
def test_last_block_is_the_mean_of_timm_s_patch_tokens(name):
    model, raw = released(name), crops(num_channels=3)
    found = imported(model, name, channels=STAINS[:3]).embed(raw)
    seen = []
    model.blocks[-1].register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        model(standard(raw))
    expected = seen[0][:, model.num_prefix_tokens :].mean(dim=1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_class_token_after_the_final_norm_is_what_timm_gives_its_classifier():
    model, raw = released("test_vit"), crops(num_channels=3)
    encoder = imported(model, "test_vit", channels=STAINS[:3], pooling="class_token", apply_final_norm=True)
    with torch.no_grad():
        expected = model.forward_head(model.forward_features(standard(raw)), pre_logits=True)
    torch.testing.assert_close(encoder.embed(raw), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("num_channels", [1, 6])
def test_more_channels_repeat_the_input_weights_of_three_and_one_channel_sums_them(num_channels):
    model, gray = released("test_vit"), crops(num_channels=1)
    of_three = imported(model, "test_vit", channels=STAINS[:3]).embed(gray.expand(-1, 3, -1, -1))
    encoder = imported(model, "test_vit", channels=STAINS[:num_channels])
    found = encoder.embed(gray.expand(-1, num_channels, -1, -1))
    torch.testing.assert_close(found, of_three, atol=1e-5, rtol=1e-5)


def test_six_channels_that_are_two_times_the_same_three_give_the_embedding_of_the_three():
    model, raw = released("test_vit"), crops(num_channels=3)
    of_three = imported(model, "test_vit", channels=STAINS[:3]).embed(raw)
    of_six = imported(model, "test_vit").embed(torch.cat([raw, raw], dim=1))
    torch.testing.assert_close(of_six, of_three, atol=1e-5, rtol=1e-5)


def test_position_embeddings_are_resampled_to_the_grid_of_the_crop():
    model = released("test_vit")
    with torch.no_grad():  # class token and first row apart, positions fall linearly down the crop
        model.pos_embed[0, 1:] = torch.linspace(1, -1, 10).repeat_interleave(10)[:, None]
    kept = imported(model, "test_vit", crop_size=64).weights.pos_embed[0]
    assert kept.shape == (17, 64)
    assert torch.equal(kept[0], model.pos_embed[0, 0])
    rows = kept[1:].reshape(4, 4, 64)
    assert torch.allclose(rows, rows[:, :1, :1].expand_as(rows), atol=1e-5)  # the same along a row
    assert (rows[1:, 0, 0] < rows[:-1, 0, 0]).all()
    torch.testing.assert_close(rows[:, 0, 0], -rows[:, 0, 0].flip(0), atol=1e-5, rtol=1e-5)


def test_crops_are_resized_to_the_input_after_they_were_standardized():
    model, raw = released("test_vit"), crops(size=80)
    found = imported(model, "test_vit", crop_size=80, input_size=160).embed(raw)
    resized = functional.interpolate(
        standard(raw), size=(160, 160), mode="bicubic", antialias=True, align_corners=False
    )
    native = imported(model, "test_vit", standardize=False, intensity_scale=1.0)
    torch.testing.assert_close(found, native.embed(resized), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_saved_encoder_loads_without_the_file_and_trims_to_the_same_bits(tmp_path, name):
    encoder, raw = imported(released(name), name, license="apache-2.0"), crops()
    blocks = encoder.embed_blocks(raw)
    assert len(blocks) == encoder.num_blocks
    loaded = load_encoder(save_encoder(tmp_path, encoder))
    assert loaded.config == encoder.config
    assert torch.equal(loaded.embed_blocks(raw), blocks)
    for block in (0, 2, encoder.num_blocks - 1):
        trimmed = trim_encoder(encoder, block)
        assert torch.equal(trimmed.embed(raw), blocks[block])
        assert len(trimmed.weights.blocks) == block + 1
    assert "License: apache-2.0." in (tmp_path / "card.md").read_text()


def test_blocks_after_the_chosen_one_are_not_computed():
    encoder = imported(released("test_vit"), "test_vit")
    calls = []
    for index, block in enumerate(encoder.weights.blocks):
        block.register_forward_hook(lambda *_, index=index: calls.append(index))
    encoder.config = dataclasses.replace(encoder.config, block=1)
    chosen = encoder.embed(crops())
    assert calls == [0, 1]
    assert torch.equal(chosen, encoder.embed_blocks(crops())[1])


def test_models_with_rotary_positions_are_read_and_trimmed_too():
    name = "vit_small_patch16_dinov3"
    model = released(name, depth=2, num_classes=0)
    config = dataclasses.replace(described(name, crop_size=64), num_blocks=2)
    encoder, raw = import_timm(config, model.state_dict(), source="w"), crops(size=64)
    blocks = encoder.embed_blocks(raw)
    assert blocks.shape == (2, 2, 384)
    assert torch.equal(trim_encoder(encoder, 0).embed(raw), blocks[0])


def test_untrained_weights_follow_from_the_seed_and_leave_other_random_numbers_alone():
    config = described("test_vit", seed=4)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first, same = untrained_encoder(config), untrained_encoder(config)
    assert torch.equal(torch.rand(3), expected)
    other = untrained_encoder(dataclasses.replace(config, seed=5))
    assert torch.equal(first.embed(crops()), same.embed(crops()))
    assert not torch.allclose(first.embed(crops()), other.embed(crops()))


def test_a_classifier_in_the_file_is_left_out_with_a_line_in_the_log(caplog):
    with caplog.at_level(logging.INFO, logger="phenoscale"):
        encoder = imported(released("test_vit"), "test_vit")
    assert 'ignored_classifier="head.weight, head.bias"' in caplog.text
    assert not any(name.startswith("head") for name in encoder.weights.state_dict())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda tensors: tensors.pop("blocks.3.mlp.fc1.bias"),
            r"blocks\.3\.mlp\.fc1\.bias \[192\] is missing",
        ),
        (lambda tensors: tensors.update(extra=torch.zeros(2)), r"extra \[2\] is unexpected"),
        (
            lambda tensors: tensors.update({"norm.bias": torch.zeros(3)}),
            r"norm\.bias has shape \[3\], expected \[64\]",
        ),
    ],
)
def test_any_other_difference_is_an_error_with_shapes(change, message):
    tensors = released("test_vit").state_dict()
    change(tensors)
    with pytest.raises(UserError, match=message):
        import_timm(described("test_vit"), tensors, source="w")


def test_import_and_load_open_no_connection(tmp_path):
    torch.save(released("test_vit").state_dict(), tmp_path / "model.pt")
    script = (
        "import socket, sys\n"
        "from pathlib import Path\n"
        "def refuse(*_): raise OSError('no network here')\n"
        "socket.socket.connect = refuse\n"
        "from phenoscale.models.encoder import load_encoder, save_encoder\n"
        "from phenoscale.models.timm_encoder import import_timm, timm_encoder_config\n"
        "from phenoscale.models.weights import read_released_weights\n"
        "name, folder = 'test_vit.r160_in1k', Path(sys.argv[1])\n"
        "config = timm_encoder_config(name, channels=('DNA',), crop_size=64, intensity_scale=255.0)\n"
        "tensors = read_released_weights(folder / 'model.pt')\n"
        "save_encoder(folder / 'encoder', import_timm(config, tensors, source='w'))\n"
        "print(load_encoder(folder / 'encoder').config.timm_model)\n"
    )
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "test_vit.r160_in1k"


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("vit_lrage_patch16_224", {}, "has no model 'vit_lrage_patch16_224'"),
        ("hf-hub:timm/vit_tiny_patch16_224", {}, "models of a hub or a folder are not looked up"),
        ("test_vit.nonsense", {}, "Invalid pretrained tag"),
        ("resnet18", {}, "no plain vision transformer"),
        ("test_vit", {"crop_size": 100}, "16 px of test_vit do not tile its input of 100 px; .* such as 96"),
        ("test_vit2", {"pooling": "class_token"}, "no class token to read; use pooling mean_patch_tokens"),
        ("test_vit2", {"apply_final_norm": True}, "no final norm over its tokens"),
        ("test_vit", {"pooling": "channel_means"}, "mixes the channels in its first layer"),
    ],
)
def test_a_model_that_cannot_be_read_is_refused_with_the_way_out(name, settings, message):
    with pytest.raises(UserError, match=message):
        described(name, **settings)


# Millions of parameters without positions, six channels at 256 px (14 px patches: 224 px). science.md
# 1.1 counted 21.9 / 86.2 / 85.3 / 303.8, to which timm's own blocks come within .1. ViTally
# states 25 / 307 / 1,100 for DINOv2; what timm has are 22 / 304 / 1,135.
MILLIONS = {
    "vit_s16_in21k": 21.9,
    "vit_b16_in21k": 86.2,
    "vit_b8_in21k": 85.3,
    "vit_l16_in21k": 303.8,
    "mae_l16_in1k": 303.8,
    "dinov2_s14": 21.8,
    "dinov2_l14": 303.6,
    "dinov2_g14": 1135.3,
}


@pytest.mark.parametrize("preset", TIMM_PRESETS)
def test_presets_are_the_models_of_the_papers(preset):
    name, input_size = TIMM_PRESETS[preset].timm_model, TIMM_PRESETS[preset].input_size
    config = timm_encoder_config(
        name, channels=STAINS, crop_size=256, input_size=input_size, intensity_scale=255.0
    )
    size = input_size or 256
    model = timm.create_model(name, num_classes=0, in_chans=6, img_size=size, device="meta")
    num_parameters = sum(value.numel() for value in model.parameters()) - model.pos_embed.numel()
    assert num_parameters / 1e6 == pytest.approx(MILLIONS[preset], abs=0.11)
    assert (size // config.patch_size) ** 2 == {8: 1024, 14: 256, 16: 256}[config.patch_size]
    assert config.num_blocks == {384: 12, 768: 12, 1024: 24, 1536: 40}[config.embedding_dim]
