"""Wells whose correction was fitted on the controls they are tested against are told by their map."""

import json

import pytest

from phenoscale.benchmarks.control_fit import control_fit
from phenoscale.errors import UserError
from phenoscale.mapping.config import CenterScaleStep, CenterStep, MapConfig, PcaStep, TvnStep


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
