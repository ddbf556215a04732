"""Weights on disk: whole or not at all, and readable differences."""

import os
import pickle
import re
import zipfile

import pytest
import torch
from torch import nn

from phenoscale.errors import UserError
from phenoscale.models.weights import (
    load_weights,
    mismatches,
    read_released_weights,
    read_weights,
    write_weights,
)


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


class Malicious:
    """Runs a command when a pickle of it is loaded."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def load_as_its_author_hoped(file, *, form):
    """Proves that the file is malicious: read without `weights_only`, it runs."""
    if form == "bare":
        pickle.loads(file.read_bytes())
    else:
        with file.open("rb") as opened:
            torch.load(opened, weights_only=False)


def test_a_released_file_is_read_by_its_content_whatever_its_name(tmp_path):
    layer = linear(3, 2)
    tensors = {name: value.clone() for name, value in layer.state_dict().items()}
    write_weights(tmp_path / "weights.bin", layer)
    torch.save({"state_dict": tensors, "epoch": 5}, tmp_path / "model.safetensors")  # as OpenPhenom's
    torch.save({"model": tensors}, tmp_path / "mae.pth")
    torch.save(tensors, tmp_path / "old.pt", _use_new_zipfile_serialization=False)  # before torch 1.6
    for file in ("weights.bin", "model.safetensors", "mae.pth", "old.pt"):
        found = read_released_weights(tmp_path / file)
        assert found.keys() == tensors.keys(), file
        assert all(torch.equal(found[name], value) for name, value in tensors.items()), file


@pytest.mark.parametrize("form", ["zip", "legacy", "bare"])
def test_a_malicious_pickle_is_refused_and_does_not_run(tmp_path, form):
    file, mark = tmp_path / "model.safetensors", tmp_path / "it_ran"
    content = {"state_dict": linear(3, 2).state_dict(), "extra": Malicious(mark)}
    if form == "bare":
        file.write_bytes(pickle.dumps(content["extra"]))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(UserError, match="would run code of whoever wrote them; they were refused"):
        read_released_weights(file)
    assert not mark.exists()
    load_as_its_author_hoped(file, form=form)
    assert mark.exists()


def test_a_whole_pickled_model_is_refused_by_the_name_of_its_class(tmp_path):
    torch.save(linear(3, 2), tmp_path / "model.pt")
    with pytest.raises(UserError, match=r"torch\.nn\.modules\.linear\.Linear"):
        read_released_weights(tmp_path / "model.pt")


@pytest.mark.parametrize("saved_by", ["safetensors", "zip", "legacy"])
def test_a_released_file_that_was_cut_off_is_a_user_error(tmp_path, saved_by):
    file = tmp_path / "weights"
    if saved_by == "safetensors":
        write_weights(file, linear(3, 2))
    else:
        torch.save(linear(3, 2).state_dict(), file, _use_new_zipfile_serialization=saved_by == "zip")
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(UserError, match="not a whole"):
        read_released_weights(file)


def test_other_files_are_refused_by_how_they_begin(tmp_path):
    (tmp_path / "pointer").write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(UserError, match=r"begin with b'version '; .* pointer of a large file"):
        read_released_weights(tmp_path / "pointer")
    with zipfile.ZipFile(tmp_path / "archive", "w") as archive:
        archive.writestr("a/b.txt", "text")
    with pytest.raises(UserError, match="not a whole torch file"):
        read_released_weights(tmp_path / "archive")
    with pytest.raises(UserError, match=r"absent cannot be read .*check the path"):
        read_released_weights(tmp_path / "absent")


def test_values_that_are_no_tensors_are_named(tmp_path):
    torch.save({"state_dict": {"weight": torch.ones(2), "steps": 5}}, tmp_path / "mixed.pt")
    with pytest.raises(UserError, match="no tensors: steps; give a state_dict"):
        read_released_weights(tmp_path / "mixed.pt")
    torch.save([torch.ones(2)], tmp_path / "list.pt")
    with pytest.raises(UserError, match="hold a list and not named tensors"):
        read_released_weights(tmp_path / "list.pt")
