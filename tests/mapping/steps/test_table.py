"""A step of a map is one file and one line: its settings, its fit and its place come out of its class."""

import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

import numpy as np
import pandas as pd
import pytest

from phenoscale.config import digest_json, parse_config, resolved, setting
from phenoscale.errors import UserError
from phenoscale.mapping.chain import fit_map
from phenoscale.mapping.config import MapConfig
from phenoscale.mapping.steps.step import MapStep
from phenoscale.mapping.steps.table import STEPS, step_class
from phenoscale.schema.embeddings import EmbeddingTable


@dataclass(frozen=True)
class Shrunk:
    factor: float

    def transform(self, perturbation_map):
        return perturbation_map.__class__(
            **{**vars(perturbation_map), "embeddings": perturbation_map.embeddings * self.factor}
        )

    def parameters(self):
        return {"factor": np.array([self.factor])}


class ShrinkStep(MapStep):
    """Multiply every vector of the map."""

    name: Literal["shrink"] = "shrink"
    factor: float = setting(0.5, help="what vectors are multiplied by")

    def fit(self, perturbation_map, genes):
        return Shrunk(self.factor)


@pytest.fixture
def with_shrink(monkeypatch):
    module = ModuleType("shrink")
    module.ShrinkStep = ShrinkStep
    monkeypatch.setitem(sys.modules, "shrink", module)
    monkeypatch.setitem(STEPS, "shrink", "shrink:ShrinkStep")


def _wells():
    frame = pd.DataFrame(
        {"perturbation": ["A", "A", "B", "DMSO"], "is_negative_control": [False, False, False, True]}
    )
    return EmbeddingTable(frame=frame, embeddings=np.arange(8.0).reshape(4, 2), level="well")


def _config(*steps):
    return parse_config(MapConfig, {"steps": list(steps)}, source="test")


def test_a_new_step_is_read_fitted_applied_and_recorded(with_shrink):
    plain = fit_map(_wells(), config=_config({"name": "aggregate"}))
    config = _config({"name": "aggregate"}, {"name": "shrink", "factor": 0.25})
    shrunk = fit_map(_wells(), config=config)
    np.testing.assert_array_equal(shrunk.map.embeddings, plain.map.embeddings * 0.25)
    assert list(shrunk.after_step) == ["0_none", "1_shrink"]
    assert shrunk.map.steps[-1]["settings"] == {"name": "shrink", "factor": 0.25}
    np.testing.assert_array_equal(shrunk.apply(_wells()).embeddings, shrunk.map.embeddings)


def test_a_new_step_has_its_place_its_settings_and_its_fingerprint_checked(with_shrink):
    with pytest.raises(UserError, match=r"\['shrink'\] stands on the wrong side"):
        _config({"name": "shrink"}, {"name": "aggregate"})
    with pytest.raises(UserError, match=r"unknown field facto .*did you mean factor"):
        _config({"name": "aggregate"}, {"name": "shrink", "facto": 1})
    digests = {
        digest_json(resolved(_config({"name": "aggregate"}, {"name": "shrink", "factor": factor})))
        for factor in (0.25, 0.5)
    }
    assert len(digests) == 2


@pytest.mark.parametrize("name", list(STEPS))
def test_every_step_is_found_under_its_own_name(name):
    assert step_class(name)().name == name


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("aggregate", "must be a list of steps"),
        ([{"batch_key": "plate"}], r"steps\[0\] is .* a step is a mapping with a name"),
        ([{"name": "tvm"}], "there is no map step 'tvm'; did you mean tvn"),
        ([{"name": "tvn", "min_controls": 1}], r"min_controls = 1 \(steps\[0\]"),
    ],
)
def test_a_list_of_steps_that_cannot_be_read_is_refused_with_its_place(steps, message):
    with pytest.raises(UserError, match=message):
        parse_config(MapConfig, {"steps": steps}, source="test")


def test_a_config_that_was_written_as_json_is_the_config_again():
    config = _config({"name": "tvn", "batch_key": "plate"}, {"name": "aggregate"})
    assert parse_config(MapConfig, config.model_dump(mode="json"), source="test") == config
