"""Encoders: every block in one pass, folders that load anywhere, trimming that changes nothing."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest
import torch

from phenoscale.errors import UserError
from phenoscale.models.encoder import load_encoder, save_encoder, trim_encoder, untrained_encoder
from phenoscale.models.preprocess import standardize
from phenoscale.models.vit import patchify
from phenoscale.schema.encoders import encoder_digest
from tests.support.encoders import raw_crops, tiny_encoder


@pytest.mark.parametrize("changes", [{}, {"block": "parallel", "qk_norm": True, "layer_scale_init": 1e-4}])
def test_saved_encoder_embeds_bit_equally_and_its_folder_holds_no_pickle(tmp_path, changes):
    encoder = tiny_encoder(seed=3, **changes)
    save_encoder(tmp_path / "encoder", encoder)
    loaded = load_encoder(tmp_path / "encoder")
    crops = raw_crops(5)
    assert loaded.config == encoder.config
    assert torch.equal(loaded.embed_blocks(crops), encoder.embed_blocks(crops))
    files = {file.name for file in (tmp_path / "encoder").iterdir()}
    assert files == {"encoder.safetensors", "config.json", "card.md"}


def test_a_stage_s_output_is_as_good_as_the_encoder_folder_in_it(tmp_path):
    save_encoder(tmp_path / "encoder", tiny_encoder())
    crops = raw_crops(2)
    expected = load_encoder(tmp_path / "encoder").embed(crops)
    assert torch.equal(load_encoder(tmp_path).embed(crops), expected)


def test_encoder_loads_in_a_process_without_gpu_and_without_any_socket(tmp_path):
    save_encoder(tmp_path, tiny_encoder())
    script = (
        "import socket, sys\n"
        "def refuse(*_): raise OSError('no network here')\n"
        "socket.socket.connect = refuse\n"
        "from phenoscale.models.encoder import load_encoder\n"
        "print(load_encoder(sys.argv[1]).config.embedding_dim)\n"
    )
    source = os.pathsep.join(sys.path)
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": source}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "16"


def test_every_block_is_the_mean_of_its_patch_tokens():
    encoder = tiny_encoder()
    crops = raw_crops(4)
    found = encoder.embed_blocks(crops)
    assert found.shape == (3, 4, 16)
    assert found.dtype == torch.float32
    with torch.no_grad():
        vit = encoder.vit
        tokens = vit.embed_patches(patchify(standardize(crops, intensity_scale=65535.0), patch_size=8))
        for block in range(3):
            tokens = vit.blocks[block](tokens)
            without_class_token = torch.stack([tokens[:, index] for index in range(1, 17)])
            torch.testing.assert_close(found[block], without_class_token.mean(dim=0))


def test_all_blocks_come_out_of_one_forward_pass():
    encoder = tiny_encoder()
    calls = []
    for index, block in enumerate(encoder.vit.blocks):
        block.register_forward_hook(lambda *_, index=index: calls.append(index))
    encoder.embed_blocks(raw_crops(2))
    assert calls == [0, 1, 2]


def test_blocks_after_the_chosen_one_are_not_computed():
    encoder = tiny_encoder(facts={"block": 1})
    calls = []
    for index, block in enumerate(encoder.vit.blocks):
        block.register_forward_hook(lambda *_, index=index: calls.append(index))
    crops = raw_crops(2)
    chosen = encoder.embed(crops)
    assert calls == [0, 1]
    assert torch.equal(chosen, encoder.embed_blocks(crops)[1])


def test_final_norm_is_applied_to_tokens_before_they_are_pooled_when_asked_for():
    plain = tiny_encoder()
    normed = tiny_encoder(facts={"apply_final_norm": True})
    crops = raw_crops(2)
    with torch.no_grad():
        prepared = patchify(standardize(crops, intensity_scale=65535.0), patch_size=8)
        expected = plain.vit(prepared)[:, 1:].mean(dim=1)
    torch.testing.assert_close(normed.embed(crops), expected)
    assert not torch.allclose(normed.embed(crops), plain.embed(crops))


@pytest.mark.parametrize("num_crops", [1, 2, 5, 64, 65, 129])
def test_a_crop_s_embedding_does_not_depend_on_its_companions(num_crops):
    encoder = tiny_encoder()
    crops = raw_crops(150)
    together = encoder.embed_blocks(crops)[:, :num_crops]
    torch.testing.assert_close(encoder.embed_blocks(crops[:num_crops]), together, atol=1e-6, rtol=1e-6)


def test_embedding_does_not_see_the_scale_of_a_bright_channel():
    encoder = tiny_encoder()
    crops = raw_crops(2).float()
    torch.testing.assert_close(encoder.embed(crops * 0.5), encoder.embed(crops), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("block", [0, 1, 2])
def test_trimmed_encoder_embeds_the_chosen_block_bit_equally(tmp_path, block):
    encoder = tiny_encoder(facts={"is_trained": True, "num_training_crops": 1000})
    crops = raw_crops(6)
    expected = encoder.embed_blocks(crops)[block]
    trimmed = trim_encoder(encoder, block)
    assert trimmed.num_blocks == block + 1
    assert trimmed.config.chosen_block == block
    assert trimmed.config.trimmed_from == 3
    save_encoder(tmp_path, trimmed)
    assert torch.equal(load_encoder(tmp_path).embed(crops), expected)
    assert f"blocks 0 to {block} of 3 are kept" in (tmp_path / "card.md").read_text()


def test_trimming_to_a_block_that_does_not_exist_is_a_user_error():
    with pytest.raises(UserError, match="block 3 does not exist: this encoder has blocks 0 to 2"):
        trim_encoder(tiny_encoder(), 3)


def test_untrained_encoder_has_the_weights_that_training_with_its_seed_starts_from():
    start = tiny_encoder(seed=9, facts={"is_trained": True, "num_training_crops": 5})
    fresh = untrained_encoder(start.config)
    other = untrained_encoder(dataclasses.replace(start.config, seed=10))
    crops = raw_crops(3)
    assert torch.equal(fresh.embed(crops), start.embed(crops))
    assert not torch.allclose(other.embed(crops), start.embed(crops))
    assert (fresh.config.is_trained, fresh.config.num_training_crops) == (False, 0)


def test_bfloat16_encoder_stays_close_to_float32_and_returns_float32():
    crops = raw_crops(4)
    exact = tiny_encoder().embed(crops)
    rounded = tiny_encoder(facts={"precision": "bf16"}).embed(crops)
    assert rounded.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(exact, rounded).min() > 0.999


def test_weights_of_another_architecture_end_with_both_shapes_and_the_way_out(tmp_path):
    save_encoder(tmp_path / "wide", tiny_encoder(embedding_dim=24))
    save_encoder(tmp_path / "narrow", tiny_encoder())
    weights = (tmp_path / "wide" / "encoder.safetensors").read_bytes()
    (tmp_path / "narrow" / "encoder.safetensors").write_bytes(weights)
    with pytest.raises(UserError) as caught:
        load_encoder(tmp_path / "narrow")
    message = str(caught.value)
    assert "cls_token has shape [1, 1, 24], expected [1, 1, 16]" in message
    assert "dimension 16" in message
    assert "give the config that these weights were trained with" in message


def test_a_config_with_more_blocks_than_the_weights_names_the_missing_tensors(tmp_path):
    save_encoder(tmp_path, tiny_encoder())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_blocks": 4}))
    with pytest.raises(UserError, match=r"blocks\.3\.norm1\.weight \[16\] is missing"):
        load_encoder(tmp_path)


def test_crops_of_another_size_or_channel_count_are_a_user_error():
    encoder = tiny_encoder()
    with pytest.raises(UserError, match=r"crops of shape \[2, 3, 40, 40\] do not fit this encoder"):
        encoder.embed(raw_crops(2, size=40))
    with pytest.raises(UserError, match=r"reads \[B, 3, 32, 32\]"):
        encoder.embed_blocks(raw_crops(2, channels=5))


def test_digest_follows_weights_and_config_but_not_place_or_card(tmp_path):
    encoder = tiny_encoder()
    first = save_encoder(tmp_path / "a", encoder)
    second = save_encoder(tmp_path / "b", encoder)
    (second / "card.md").write_text("another card")
    assert encoder_digest(first) == encoder_digest(second)
    assert encoder_digest(save_encoder(tmp_path / "c", tiny_encoder(seed=1))) != encoder_digest(first)
