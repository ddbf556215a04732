"""One message for everything that is wrong with a config."""

from typing import Annotated, Literal

import pydantic
import pytest

from phenoscale.config import Config, parse_config, setting
from phenoscale.config.problems import nearest, suggest
from phenoscale.errors import UserError


class Center(Config):
    name: Literal["center"] = "center"
    batch_key: str = setting("experiment", help="batch")


class Pca(Config):
    name: Literal["pca"] = "pca"
    num_components: int = setting(2, gt=0, help="components")


class Task(Config):
    label: str = setting(help="label")


class Map(Config):
    steps: tuple[Annotated[Center | Pca, pydantic.Field(discriminator="name")], ...] = setting((), help="s")
    tasks: dict[str, Task] = setting(default_factory=dict, help="tasks")
    optional: Pca | None = None
    fraction: float = setting(0.5, ge=0, le=1, help="fraction")

    @pydantic.model_validator(mode="after")
    def _check(self) -> "Map":
        if self.fraction == 0.25:
            raise ValueError("A quarter is not enough; take a half")
        return self


def _message(**data):
    with pytest.raises(UserError) as caught:
        parse_config(Map, data, source="map.yaml")
    return str(caught.value)


def test_an_unknown_field_is_named_with_the_nearest_valid_one():
    assert _message(step=[]) == "unknown field step (map.yaml); did you mean steps?"


def test_an_unknown_field_like_no_other_gets_the_list_of_valid_ones():
    assert _message(zzz=1).endswith("valid: steps, tasks, optional, fraction")


def test_fields_in_lists_unions_and_mappings_are_named_by_their_way_down():
    assert "unknown field steps.1.batchkey" in _message(
        steps=[{"name": "pca"}, {"name": "center", "batchkey": 1}]
    )
    assert "did you mean steps.0.num_components?" in _message(steps=[{"name": "pca", "components": 1}])
    assert "tasks.moa.label is required" in _message(tasks={"moa": {}})
    assert "did you mean optional.num_components?" in _message(optional={"num_component": 2})


def test_an_unknown_kind_of_step_is_refused_with_the_kinds_there_are():
    message = _message(steps=[{"name": "tvn"}, {}])
    assert "(map.yaml) must have 'name' set to one of 'center', 'pca'" in message
    assert "steps.1 = {} (map.yaml) must have the field 'name'" in message


def test_a_value_out_of_range_is_shown_with_its_rule():
    assert _message(fraction=1.5) == "fraction = 1.5 (map.yaml) must be at most 1.0"


@pytest.mark.parametrize(
    ("value", "rule"), [(3, "a mapping of field: value"), ("x", "a mapping of field: value")]
)
def test_a_section_that_is_none_is_called_by_its_field_and_not_by_a_class(value, rule):
    message = _message(optional=value)
    assert message.startswith("optional = ") and rule in message
    assert "Pca" not in message


def test_not_a_number_is_no_value():
    assert "fraction = nan" in _message(fraction=float("nan"))


def test_a_rule_over_several_fields_is_reported_in_its_own_words():
    assert "a quarter is not enough; take a half" in _message(fraction=0.25)


def test_a_long_value_is_cut_in_the_message():
    message = _message(fraction="x" * 5000)
    assert "xxx..." in message and len(message) < 300


def test_all_problems_are_listed_one_a_line():
    lines = _message(fraction=3, step=1, tasks={"a": {"lable": "b"}}).splitlines()
    assert lines[0] == "4 settings are wrong:"
    assert len(lines) == 5


def test_the_nearest_name_is_the_one_spelled_alike():
    assert nearest("dept", ["width", "depth"]) == "depth"
    assert nearest("qqq", ["width", "depth"]) == ""
    assert suggest("x", []) == "nothing is valid here"


class _Choices(Config):
    choices: tuple[Literal["a", "b"], ...] = setting(("a",), min_length=1, help="choices")


def test_a_list_is_not_called_too_short_for_the_entries_that_are_wrong():
    with pytest.raises(UserError) as caught:
        parse_config(_Choices, {"choices": ["c"]}, source="flags")
    assert str(caught.value) == "choices.0 = 'c' (flags) must be 'a' or 'b'"
    with pytest.raises(UserError, match="has too few entries: at least 1 are needed"):
        parse_config(_Choices, {"choices": []}, source="flags")
