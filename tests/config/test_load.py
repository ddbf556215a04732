"""Filling configs from files and flags."""

from pathlib import Path

import pytest

from phenoscale.config import Config, Runtime, load_config, location, parse_config, require, setting
from phenoscale.errors import UserError


class Model(Config):
    depth: int = setting(6, gt=0, help="blocks")
    dims: tuple[int, ...] = setting((), help="dimensions")


class Pretrain(Config):
    model: Model = Model()
    manifest: str = location(help="manifest")
    maps: dict[str, str] = location(default_factory=dict, help="maps by name")
    learning_rate: float = setting(1e-3, gt=0, help="learning rate")
    runtime: Runtime = Runtime()


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "pretrain.yaml"
    path.write_text(text)
    return path


def test_a_file_fills_what_it_names_and_defaults_fill_the_rest(tmp_path):
    config = load_config(Pretrain, _file(tmp_path, "model: {depth: 4}\nmanifest: m\n"), flags={})
    assert (config.model.depth, config.manifest, config.learning_rate) == (4, "m", 1e-3)


def test_an_empty_file_gives_the_defaults(tmp_path):
    assert load_config(Pretrain, _file(tmp_path, "# nothing\n"), flags={}) == Pretrain()


def test_flags_win_over_the_file_field_by_field(tmp_path):
    file = _file(tmp_path, "model: {depth: 4, dims: [1, 2]}\nlearning_rate: 0.5\nmaps: {a: x, b: y}\n")
    flags = {"model.depth": "8", "maps": ["b=z", "c=w"], "runtime.num_workers": "3"}
    config = load_config(Pretrain, file, flags=flags)
    assert (config.model.depth, config.model.dims, config.learning_rate) == (8, (1, 2), 0.5)
    assert config.maps == {"a": "x", "b": "z", "c": "w"}
    assert config.runtime.num_workers == 3


def test_numbers_in_scientific_notation_are_numbers_in_files_and_flags(tmp_path):
    assert load_config(Pretrain, _file(tmp_path, "learning_rate: 1e-4\n"), flags={}).learning_rate == 1e-4
    assert load_config(Pretrain, None, flags={"learning_rate": "3e-5"}).learning_rate == 3e-5


def test_environment_variables_expand_in_the_strings_of_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA", "/plates")
    monkeypatch.delenv("OTHER", raising=False)
    text = "manifest: ${DATA}/week4\nmaps: {a: '${OTHER:-here}/map', b: '${OTHER:-}'}\n"
    config = load_config(Pretrain, _file(tmp_path, text), flags={})
    assert config.manifest == "/plates/week4"
    assert config.maps == {"a": "here/map", "b": ""}


def test_every_variable_that_is_not_set_is_named_at_once(tmp_path, monkeypatch):
    for name in ("FIRST", "SECOND"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=r"not set: FIRST, SECOND; set them, or write \$\{NAME:-default\}"):
        load_config(Pretrain, _file(tmp_path, "manifest: ${FIRST}/${SECOND}/${FIRST}\n"), flags={})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: [", "is not valid YAML"),
        ("- a\n- b\n", "holds a list, a config is a mapping"),
        ("just words\n", "holds a str"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused_with_its_name(tmp_path, *, text, message):
    with pytest.raises(UserError, match=message) as caught:
        load_config(Pretrain, _file(tmp_path, text), flags={})
    assert "pretrain.yaml" in str(caught.value)


def test_a_missing_config_file_is_an_error_of_the_user(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.yaml does not exist; check the path"):
        load_config(Pretrain, tmp_path / "nowhere.yaml", flags={})


def test_each_mistake_is_reported_with_the_place_that_it_came_from(tmp_path):
    file = _file(tmp_path, "model: {dept: 4}\nlearning_rate: -1\n")
    with pytest.raises(UserError) as caught:
        load_config(Pretrain, file, flags={"model.depth": "zero"})
    message = str(caught.value)
    assert "3 settings are wrong" in message
    assert "unknown field model.dept" in message and "did you mean model.depth?" in message
    assert f"learning_rate = -1 (file {file}) must be greater than 0" in message
    assert "model.depth = 'zero' (flag --model.depth)" in message


def test_a_required_location_is_given_back_as_text():
    assert require(Pretrain(manifest="m"), "manifest", verb="pretrain") == "m"
    assert require(Pretrain(), "runtime.workspace", verb="pretrain") == "phenoscale-workspace"


def test_a_required_location_that_is_empty_is_refused_with_the_way_out():
    with pytest.raises(UserError, match=r"pretrain needs --manifest, got ''; give .*--manifest PATH"):
        require(Pretrain(), "manifest", verb="pretrain")


def test_data_from_a_program_names_its_source():
    with pytest.raises(UserError, match=r"unknown field manifests \(step curate\); did you mean manifest\?"):
        parse_config(Pretrain, {"manifests": "x"}, source="step curate")
