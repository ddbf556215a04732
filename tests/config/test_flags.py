"""Reading the text of a flag by the type of its field."""

from typing import Annotated, Literal

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenoscale.config import Config, load_config, setting
from phenoscale.config.flags import annotation_of, nest_flags
from phenoscale.errors import UserError


class Center(Config):
    name: Literal["center"] = "center"


class Pca(Config):
    name: Literal["pca"] = "pca"
    components: int = setting(2, help="components")


class Everything(Config):
    words: tuple[str, ...] = setting((), help="words")
    numbers: list[float] = setting(default_factory=list, help="numbers")
    limits: dict[str, float] = setting(default_factory=dict, help="limits")
    block: int | None = setting(3, help="block")
    is_null: bool = setting(False, help="flag")
    level: Literal["well", "field"] = setting("well", help="level")
    steps: tuple[Annotated[Center | Pca, pydantic.Field(discriminator="name")], ...] = setting((), help="s")
    pca: Pca | None = None
    center: Center = Center()


def _filled(**flags):
    return load_config(Everything, None, flags=flags)


def test_lists_take_commas_and_repeated_flags():
    assert _filled(words=["a,b", "c"]).words == ("a", "b", "c")
    assert _filled(numbers="1,2.5").numbers == [1.0, 2.5]


def test_a_list_in_yaml_may_hold_commas():
    assert _filled(words='["a,b", c]').words == ("a,b", "c")


def test_mappings_take_one_name_and_value_a_flag():
    assert _filled(limits=["low=.05", "high=.95"]).limits == {"low": 0.05, "high": 0.95}
    assert _filled(limits="{low: 0.1}").limits == {"low": 0.1}


def test_a_mapping_entry_without_equals_sign_is_refused():
    with pytest.raises(UserError, match=r"--limits 'low' is not `name=value`"):
        _filled(limits=["low"])


def test_whole_numbers_may_be_written_as_powers_of_ten():
    assert _filled(block="16e6").block == 16_000_000
    assert _filled(block="1.5E+3").block == 1500
    with pytest.raises(UserError, match=r"block = .1[.]5e0."):
        _filled(block="1.5e0")


def test_none_removes_an_optional_value_and_stays_text_elsewhere():
    assert _filled(block="none").block is None
    assert _filled(words="none").words == ("none",)


def test_numbers_flags_and_choices_are_read_from_text():
    filled = _filled(block="5", is_null="true", level="field")
    assert (filled.block, filled.is_null, filled.level) == (5, True, "field")


def test_sections_in_lists_take_yaml():
    filled = _filled(steps="[{name: center}, {name: pca, components: 9}]")
    assert filled.steps == (Center(), Pca(components=9))


def test_an_optional_section_is_made_by_a_flag_below_it():
    assert _filled(**{"pca.components": "4"}).pca == Pca(components=4)
    assert _filled(pca="{components: 6}").pca == Pca(components=6)
    assert _filled(pca="none").pca is None


def test_text_that_is_no_yaml_is_refused_with_its_flag():
    with pytest.raises(UserError, match=r"--steps .* is not valid YAML"):
        _filled(steps="[{name: center")


def test_only_fields_that_exist_have_an_annotation():
    assert annotation_of(Everything, "pca.components") is int
    assert annotation_of(Everything, "pca.nothing") is None
    assert annotation_of(Everything, "nothing.components") is None


names = st.sampled_from(["a", "b", "c"])
data = st.dictionaries(names, st.dictionaries(names, st.integers(), max_size=3), max_size=3)
flags = st.dictionaries(st.tuples(names, names).map(".".join), st.integers(), max_size=4)


@given(data=data, flags=flags)
def test_laying_flags_over_data_sets_them_and_keeps_all_else(data, flags):
    merged = nest_flags(data, flags)
    for section, fields in merged.items():
        for field, value in fields.items():
            expected = flags.get(f"{section}.{field}", data.get(section, {}).get(field))
            assert value == expected
    for section, fields in data.items():
        assert set(fields) <= set(merged[section])
