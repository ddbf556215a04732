"""The encoder's config: what is written is read back, and what is wrong is named."""

import dataclasses
import json

import pytest

from phenoscale.errors import UserError
from phenoscale.schema.encoders import (
    EncoderConfig,
    encoder_folder,
    parse_encoder_config,
    read_encoder_config,
    write_encoder_config,
)


def vit_config(**changes):
    values = {
        "architecture": "vit",
        "channels": ("DNA", "ER"),
        "crop_size": 64,
        "patch_size": 8,
        "embedding_dim": 192,
        "num_blocks": 6,
        "num_heads": 3,
        "intensity_scale": 65535.0,
    }
    return EncoderConfig(**{**values, **changes})


@pytest.mark.parametrize("changes", [{}, {"block": 2, "layer_scale_init": 1e-4, "trimmed_from": 12}])
def test_config_comes_back_as_it_was_written(tmp_path, changes):
    config = vit_config(**changes)
    write_encoder_config(tmp_path, config)
    assert read_encoder_config(tmp_path) == config


def test_chosen_block_is_the_last_one_unless_said_otherwise():
    assert vit_config().chosen_block == 5
    assert vit_config(block=2).chosen_block == 2
    assert vit_config().num_tokens == 64


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"channels": ()}, "at least one stain"),
        ({"channels": ("DNA", "DNA")}, "each once"),
        ({"intensity_scale": 0.0}, "intensity_scale must be positive, got 0.0"),
        ({"block": 6}, "block must be one of 0 to 5, got 6"),
        ({"patch_size": 7}, "patch_size 7 must divide crop_size 64"),
        ({"num_heads": 5}, "num_heads 5 must divide the dimension of a token, 192"),
        ({"embedding_dim": 6, "num_heads": 3}, "multiple of 4"),
        ({"architecture": "pixel_statistics", "num_blocks": 1}, "embedding_dim must be 10, five per channel"),
    ],
)
def test_values_that_break_a_rule_are_named(changes, words):
    with pytest.raises(UserError, match=words):
        vit_config(**changes)


def test_one_error_names_every_unknown_missing_and_misspelled_field():
    data = {**dataclasses.asdict(vit_config()), "colour": 1, "num_blocks": "six", "pooling": "max"}
    del data["crop_size"]
    with pytest.raises(UserError) as caught:
        parse_encoder_config(data, source="here/config.json")
    message = str(caught.value)
    assert message.startswith("here/config.json: ")
    for problem in (
        "unknown field 'colour'",
        "missing field 'crop_size'",
        "num_blocks must be int, got 'six'",
        "pooling must be 'mean_patch_tokens' or 'class_token' or",
    ):
        assert problem in message


def test_a_truth_value_is_no_number_and_null_only_where_it_means_something():
    data = dataclasses.asdict(vit_config())
    with pytest.raises(UserError, match="num_heads must be int, got True"):
        parse_encoder_config({**data, "num_heads": True}, source="x")
    with pytest.raises(UserError, match="crop_size must be int, got None"):
        parse_encoder_config({**data, "crop_size": None}, source="x")
    assert parse_encoder_config({**data, "block": None}, source="x").block is None


@pytest.mark.parametrize("text", ["{", "[1, 2]"])
def test_a_config_that_is_no_json_object_is_a_user_error(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config\.json"):
        read_encoder_config(tmp_path)


def test_a_later_format_version_is_refused_with_the_way_out(tmp_path):
    file = write_encoder_config(tmp_path, vit_config())
    file.write_text(json.dumps({**json.loads(file.read_text()), "format_version": 2}))
    with pytest.raises(UserError, match="use the phenoscale that wrote the encoder"):
        read_encoder_config(tmp_path)


def test_a_folder_without_an_encoder_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="holds no encoder"):
        encoder_folder(tmp_path)
