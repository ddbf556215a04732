"""Weights on disk: whole or not at all, and readable differences."""

import pickle
import re

import pytest
import torch
from torch import nn

from phenoscale.errors import UserError
from phenoscale.models.weights import load_weights, mismatches, read_weights, write_weights


def linear(inputs, outputs, *, seed=0):
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(seed))
    return layer


def test_weights_come_back_to_the_last_bit_and_the_same_weights_give_the_same_bytes(tmp_path):
    layer = linear(3, 2)
    write_weights(tmp_path / "a.safetensors", layer)
    write_weights(tmp_path / "b.safetensors", layer)
    tensors = read_weights(tmp_path / "a.safetensors")
    assert all(torch.equal(tensors[name], value) for name, value in layer.state_dict().items())
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_mismatches_name_shapes_then_missing_then_unexpected_tensors():
    expected = {"a": torch.zeros(2), "b": torch.zeros(3), "c": torch.zeros(1)}
    found = {"c": torch.zeros(4), "a": torch.zeros(2), "d": torch.zeros(5)}
    assert mismatches(expected, found) == [
        "c has shape [4], expected [1]",
        "b [3] is missing",
        "d [5] is unexpected",
    ]


def test_weights_of_another_architecture_are_refused_and_change_nothing():
    layer = linear(3, 2)
    before = layer.weight.clone()
    other = {name: value.clone() for name, value in linear(3, 4, seed=1).state_dict().items()}
    message = "w.safetensors holds weights of another architecture than a 3 to 2 map: weight has shape [4, 3]"
    with pytest.raises(UserError, match=re.escape(message)):
        load_weights(layer, other, source="w.safetensors", expected="a 3 to 2 map")
    assert torch.equal(layer.weight, before)


def test_only_the_first_three_of_many_mismatches_are_shown():
    found = {f"extra{index}": torch.zeros(1) for index in range(5)}
    with pytest.raises(UserError, match=r"extra0 \[1\] is unexpected and 4 more"):
        load_weights(linear(1, 1), found, source="w", expected="a line")


def test_a_pickle_is_never_read_as_weights(tmp_path):
    file = tmp_path / "encoder.safetensors"
    file.write_bytes(pickle.dumps({"weight": [1.0]}))
    with pytest.raises(UserError, match="never from a pickle"):
        read_weights(file)


def test_a_truncated_file_is_a_user_error(tmp_path):
    file = tmp_path / "encoder.safetensors"
    write_weights(file, linear(3, 2))
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        read_weights(file)


def test_an_absent_file_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="copy the whole encoder folder"):
        read_weights(tmp_path / "encoder.safetensors")
