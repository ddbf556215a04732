"""Flags made from configs."""

from typing import Annotated, Literal

import pydantic
import pytest

from phenoscale.cli.arguments import parse_arguments
from phenoscale.cli.verbs import Verb
from phenoscale.config import Config, Runtime, load_config, location, setting
from phenoscale.errors import UserError

VERB = Verb(
    "map", config="", function="", positional=("embeddings",), examples=("map work/embed/KEY --is_null",)
)


class Pca(Config):
    """Principal components."""

    name: Literal["pca"] = "pca"
    components: int = setting(8, help="components to keep")


class Center(Config):
    name: Literal["center"] = "center"


class Model(Config):
    """The model and its sizes.

    More about it.
    """

    depth: int = setting(6, help="blocks")
    qk_norm: bool = setting(True, help="normalize queries and keys")
    runtime: Runtime = Runtime()


class MapConfig(Config):
    """Make a map.

    In several steps, 100 % of them declared.
    """

    embeddings: str = location(help="embeddings to map")
    label: str = setting(help="a label without default")
    is_null: bool = setting(False, help="shuffle first")
    rate: float = setting(0.1, help="rate in %")
    level: Literal["well", "field"] = setting("well", help="level")
    strata: tuple[str, ...] = setting(("cell_type", "timepoint_h"), help="strata")
    stores: tuple[str, ...] = location((), help="stores")
    maps: dict[str, str] = location(default_factory=dict, help="maps")
    block: int | None = setting(None, help="block")
    steps: tuple[Annotated[Pca | Center, pydantic.Field(discriminator="name")], ...] = setting(
        (Pca(), Center()), help="steps"
    )
    model: Model = Model()
    device: str = setting("microscope", help="the microscope, a name that the runtime section also has")
    simulate: Pca | None = None
    runtime: Runtime = Runtime()


def _parse(*argv):
    arguments, _ = parse_arguments("map", VERB, config=MapConfig, argv=argv)
    return arguments


def _flags(*argv):
    return _parse(*argv).flags


def _config(*argv):
    return load_config(MapConfig, None, flags={"label": "x", **_flags(*argv)})


def test_only_given_flags_are_flags():
    assert _flags() == {}
    assert _flags("--model.depth", "3") == {"model.depth": "3"}


def test_dashes_and_underscores_are_the_same():
    assert _flags("--is-null") == _flags("--is_null") == {"is_null": "true"}
    assert _flags("--model.qk-norm=false") == _flags("--model.qk_norm", "false")
    assert _parse("--dry_run").is_dry_run and _parse("--dry-run").is_dry_run
    assert _parse("--log_level", "debug").log_level == "DEBUG"


def test_a_switch_takes_no_value_or_one_or_a_no_before_it():
    assert _config("--is_null").is_null and _config("--is_null", "true").is_null
    assert not _config("--is_null", "false").is_null and not _config("--no-is_null").is_null
    assert not _config("--no-model.qk_norm").model.qk_norm
    assert not _config("--is_null", "--no-is-null").is_null


def test_lists_and_mappings_are_repeated_or_given_at_once():
    assert _config("--stores", "a", "--stores", "b,c").stores == ("a", "b", "c")
    assert _config("--maps", "a=x", "--maps", "b=s3://y/z=1").maps == {"a": "x", "b": "s3://y/z=1"}
    assert _config("--steps", "[{name: pca, components: 3}]").steps == (Pca(components=3),)


def test_an_optional_section_can_be_filled_or_taken_away():
    assert _config("--simulate.components", "3").simulate == Pca(components=3)
    assert _config("--simulate", "none").simulate is None


def test_negative_numbers_in_any_notation_are_values():
    for text in ("-1", "-0.5", "-1e-5", "-.5"):
        assert _config("--rate", text).rate == float(text)


def test_fields_of_the_runtime_section_need_no_prefix_unless_the_config_has_their_name():
    assert _config("--workspace", "w").runtime.workspace == "w"
    assert _config("--runtime.workspace", "w").runtime.workspace == "w"
    config = _config("--device", "confocal", "--runtime.device", "cuda")
    assert (config.device, config.runtime.device) == ("confocal", "cuda")


def test_a_positional_field_is_filled_without_its_flag():
    assert _flags("work/embed") == _flags("--embeddings", "work/embed") == {"embeddings": "work/embed"}


def test_general_options_are_kept_apart_from_fields():
    arguments = _parse("--config", "map.yaml", "--json", "--rate", "2")
    assert (arguments.file, arguments.is_json, arguments.is_dry_run) == ("map.yaml", True, False)
    assert arguments.flags == {"rate": "2"}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--rat", "1"], r"unknown option --rat; did you mean --rate\?"),
        (["--model.dept", "1"], r"unknown option --model\.dept; did you mean --model\.depth\?"),
        (["--rate"], "argument --rate: expected one argument"),
        (["a", "b"], "unrecognized arguments: b"),
    ],
)
def test_wrong_arguments_are_errors_of_the_user_with_the_way_out(argv, message):
    with pytest.raises(UserError, match=message) as caught:
        _parse(*argv)
    assert "phenoscale map --help" in str(caught.value)


def _help():
    arguments, text = parse_arguments("map", VERB, config=MapConfig, argv=["--help"])
    assert arguments.wants_help
    return text


def test_the_help_says_what_each_field_is_and_its_default():
    text = " ".join(_help().split())
    for words in (
        "In several steps, 100 % of them declared.",
        "--embeddings PATH embeddings to map",
        "a label without default (required)",
        "--is_null [true|false] shuffle first (default: false)",
        "--rate X rate in % (default: 0.1)",
        "--level well|field",
        "strata (default: cell_type,timepoint_h)",
        "--maps NAME=VALUE",
        "--steps YAML steps (default: pca, center)",
        "model: The model and its sizes. --model.depth N blocks (default: 6)",
        "Examples: phenoscale map work/embed/KEY --is_null",
    ):
        assert words in text, words


def test_the_help_hides_the_runtime_of_inner_sections_which_is_still_taken():
    assert "model.runtime" not in _help()
    assert _config("--model.runtime.device", "cpu").model.runtime.device == "cpu"


def test_no_line_of_the_help_is_wider_than_a_terminal():
    assert max(len(line) for line in _help().splitlines()) <= 110
