"""Canonical JSON and fingerprints: equal for equal settings, different for different ones."""

import dataclasses
import json
import math
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from phenoscale.config import (
    Config,
    Runtime,
    canonical_json,
    config_yaml,
    digest_json,
    fingerprint,
    location,
    parse_config,
    resolved,
    setting,
)


class Loss(Config):
    alpha: float = setting(0.01, help="weight of the Fourier loss")
    log_folder: str = location(help="where to log")


class Pca(Config):
    num_components: int = setting(8, help="components")
    table: str = location(help="a table")


class Pretrain(Config):
    depth: int = setting(6, help="blocks")
    loss: Loss = Loss()
    steps: tuple[Pca, ...] = setting((), help="steps")
    manifest: str = location(help="manifest")
    runtime: Runtime = Runtime()


def test_every_setting_at_any_depth_changes_the_fingerprint():
    variants = [
        Pretrain(),
        Pretrain(depth=7),
        Pretrain(loss=Loss(alpha=0.02)),
        Pretrain(steps=(Pca(),)),
        Pretrain(steps=(Pca(num_components=9),)),
        Pretrain(steps=(Pca(), Pca())),
    ]
    assert len({fingerprint(config) for config in variants}) == len(variants)


def test_no_location_and_no_runtime_field_changes_the_fingerprint():
    same = [
        Pretrain(steps=(Pca(),)),
        Pretrain(steps=(Pca(table="elsewhere"),), manifest="here", loss=Loss(log_folder="there")),
        Pretrain(steps=(Pca(),), runtime=Runtime(workspace="other", device="cuda", num_workers=9)),
    ]
    assert len({fingerprint(config) for config in same}) == 1


def test_the_fingerprint_of_a_config_is_the_same_in_every_process():
    # by `printf '{"alpha":0.01}' | sha256sum`
    assert fingerprint(Loss()) == "6184c5b0ef1cac805f822e4c4fcf85013edf919213b26fb76a156b31ea8b7937"


def test_resolved_fields_can_be_chosen_by_kind():
    config = Pretrain(manifest="m")
    assert resolved(config, kinds=("setting",)) == {"depth": 6, "loss": {"alpha": 0.01}, "steps": []}
    assert resolved(config, kinds=("location",)) == {"loss": {"log_folder": ""}, "manifest": "m"}
    assert set(resolved(config)) == {"depth", "loss", "steps", "manifest", "runtime"}


def test_the_yaml_of_a_config_gives_the_config_again():
    config = Pretrain(depth=3, steps=(Pca(num_components=2, table="t: [x]"),), manifest="${not a variable")
    assert parse_config(Pretrain, yaml.safe_load(config_yaml(config)), source="yaml") == config


class Pipeline(Config):
    pretrain: Pretrain = Pretrain()
    runtime: Runtime = Runtime()


def test_the_yaml_of_a_config_leaves_out_inner_runtimes_that_say_nothing():
    read = yaml.safe_load(config_yaml(Pipeline(runtime=Runtime(workspace="w"))))
    assert read["runtime"]["workspace"] == "w"
    assert "runtime" not in read["pretrain"] and read["pretrain"]["depth"] == 6
    loud = Pipeline(pretrain=Pretrain(runtime=Runtime(num_processes=2)))
    assert yaml.safe_load(config_yaml(loud))["pretrain"]["runtime"]["num_processes"] == 2
    assert parse_config(Pipeline, yaml.safe_load(config_yaml(loud)), source="yaml") == loud


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(values)
def test_canonical_json_is_json_that_reads_back_as_the_value(value):
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(st.text(), st.integers(), max_size=6))
def test_the_order_of_a_mapping_does_not_change_its_digest(mapping):
    backwards = dict(reversed(mapping.items()))
    assert digest_json(mapping) == digest_json(backwards)


class Level(Enum):
    WELL = "well"


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    where: Path


def test_values_of_science_are_written_as_what_they_hold():
    value = {
        "nan": math.nan,
        "infinite": -math.inf,
        "path": Path("a/b"),
        "level": Level.WELL,
        "set": {"b", "a"},
        "point": Point(x=1, where=Path("c")),
        "float32": np.float32(0.5),
        "count": np.int64(3),
        "flag": np.bool_(True),
        "array": np.arange(3),
    }
    assert json.loads(canonical_json(value)) == {
        "nan": None,
        "infinite": "-inf",
        "path": "a/b",
        "level": "well",
        "set": ["a", "b"],
        "point": {"x": 1, "where": "c"},
        "float32": 0.5,
        "count": 3,
        "flag": True,
        "array": [0, 1, 2],
    }


def test_a_value_without_json_form_is_named():
    with pytest.raises(TypeError, match="object cannot be written as JSON"):
        canonical_json({"a": object()})
