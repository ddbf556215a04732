"""The list of steps: free in order, but checked; unknown names are refused."""

import pytest

from phenoscale.config import fingerprint, parse_config
from phenoscale.errors import UserError
from phenoscale.mapping.config import MapConfig
from phenoscale.mapping.steps.tvn import TvnStep


def _parse(*names, **fields):
    return parse_config(MapConfig, {"steps": [{"name": name} for name in names], **fields}, source="test")


def test_steps_are_read_by_name_with_their_settings():
    config = parse_config(
        MapConfig,
        {"steps": [{"name": "tvn", "batch_key": "plate"}, {"name": "aggregate", "method": "spherical"}]},
        source="test",
    )
    assert config.steps[0] == TvnStep(batch_key="plate")
    assert config.steps[1].method == "spherical"


@pytest.mark.parametrize(
    "names",
    [
        ("aggregate",),
        ("pca", "center_scale", "tvn", "position", "aggregate"),
        ("position", "center", "aggregate", "arm_correction"),
    ],
)
def test_well_level_steps_stand_in_any_order(names):
    assert [step.name for step in _parse(*names).steps] == list(names)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("center",), "exactly one `aggregate`"),
        (("aggregate", "aggregate"), "exactly one `aggregate`"),
        (("aggregate", "center"), r"\['center'\] stands on the wrong side"),
        (("arm_correction", "aggregate"), r"\['arm_correction'\] stands on the wrong side"),
    ],
)
def test_a_step_on_the_wrong_side_of_aggregate_is_refused(names, message):
    with pytest.raises(UserError, match=message):
        _parse(*names)


def test_an_unknown_step_or_setting_is_refused():
    with pytest.raises(UserError, match="sphering"):
        _parse("sphering", "aggregate")
    with pytest.raises(UserError, match="regularisation"):
        parse_config(
            MapConfig,
            {"steps": [{"name": "tvn", "regularisation": 1}, {"name": "aggregate"}]},
            source="test",
        )


def test_places_do_not_enter_the_fingerprint_and_steps_do():
    assert fingerprint(_parse("aggregate", embeddings="a", genes="b")) == fingerprint(_parse("aggregate"))
    assert fingerprint(_parse("center", "aggregate")) != fingerprint(_parse("aggregate"))
