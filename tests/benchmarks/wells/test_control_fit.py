"""Wells whose correction was fitted on the controls they are tested against are told by their map."""

import json

import numpy as np
import pandas as pd
import pytest

from phenoscale.benchmarks.profiles.config import ACTIVITY, ActivityConfig
from phenoscale.benchmarks.suite.config import SuiteConfig
from phenoscale.benchmarks.suite.suite import run_suite
from phenoscale.benchmarks.wells.config import SIGNAL_MAGNITUDE, SignalMagnitudeConfig
from phenoscale.benchmarks.wells.control_fit import control_fit
from phenoscale.errors import UserError
from phenoscale.mapping.config import MapConfig
from phenoscale.mapping.steps.center import CenterScaleStep, CenterStep
from phenoscale.mapping.steps.pca import PcaStep
from phenoscale.mapping.steps.tvn import TvnStep
from phenoscale.schema.embeddings import EmbeddingTable, write_embeddings


def _corrected(folder, *steps):
    """The folder `corrected` of a map whose wells went through these steps, as `map` writes them."""
    (folder / "corrected").mkdir()
    chain = MapConfig(steps=(*steps, {"name": "aggregate"}, {"name": "arm_correction"})).steps
    header = {"steps": [{"name": step.name, "settings": step.model_dump()} for step in chain]}
    (folder / "map.json").write_text(json.dumps(header))
    return folder / "corrected"


@pytest.mark.parametrize(
    ("steps", "names"),
    [
        ((CenterScaleStep(), TvnStep()), "center_scale, tvn"),
        ((CenterStep(statistics="all"), TvnStep()), "tvn"),
        ((CenterStep(), PcaStep(statistics="all")), "center"),
    ],
)
def test_the_steps_that_were_fitted_on_controls_are_named_and_warned_of(tmp_path, caplog, steps, names):
    assert control_fit(_corrected(tmp_path, *steps), verb="it") == {"fitted_on_controls": names}
    assert f"corrected by {names}, fitted on the negative controls" in caplog.text


def test_wells_without_such_a_correction_are_not_warned_of(tmp_path, caplog):
    corrected = _corrected(tmp_path, CenterStep(statistics="all"))
    assert control_fit(corrected, verb="it") == control_fit(tmp_path, verb="it") == {}
    (tmp_path / "wells").mkdir()
    assert control_fit(tmp_path, verb="it") == {}
    assert not caplog.text


def test_a_damaged_map_is_refused_in_one_line(tmp_path):
    corrected = _corrected(tmp_path, CenterStep())
    (tmp_path / "map.json").write_text("{")
    with pytest.raises(UserError, match=r"map\.json is not readable JSON .*make the map again"):
        control_fit(corrected, verb="it")


def test_rows_of_every_test_against_the_controls_name_these_steps(tmp_path):
    frame = pd.DataFrame(
        {
            "experiment": "e1",
            "plate": "p1",
            "well": [f"A{index + 1:02d}" for index in range(24)],
            "perturbation": [f"g{index % 2}" if index < 12 else "none" for index in range(24)],
            "is_negative_control": [index >= 12 for index in range(24)],
        }
    )
    vectors = np.random.default_rng(0).standard_normal((24, 3))
    place = _corrected(tmp_path, CenterStep())
    write_embeddings(place, EmbeddingTable(frame, vectors, "well"))
    magnitude = SignalMagnitudeConfig(embeddings=str(place), num_null=20, num_resamples=0)
    activity = ActivityConfig(profiles=str(place), null_size=100, num_resamples=0)
    suite = SuiteConfig(embeddings=str(place), only=("signal-magnitude", "phenotypic-activity"))
    rows = [*SIGNAL_MAGNITUDE.run(magnitude), *ACTIVITY.run(activity), *run_suite(suite)]
    tested = [row for row in rows if row.metric != "skipped"]
    assert {row.benchmark for row in tested} == {"signal_magnitude", "phenotypic_activity"}
    assert {row.settings.get("fitted_on_controls") for row in tested} == {"center"}
