"""The table of verbs against the modules that it names."""

import inspect
import shlex

import pytest

from phenoscale.cli.arguments import build_parser, parse_arguments
from phenoscale.cli.main import split_verb
from phenoscale.cli.verbs import VERBS
from phenoscale.config import Config, Runtime
from phenoscale.operations.stage_table import STAGES
from phenoscale.references import find


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_a_config_with_help_for_each_field(name):
    config = find(VERBS[name].config)
    assert issubclass(config, Config)
    assert config.__doc__ and config.__doc__ != Config.__doc__
    text = build_parser(name, VERBS[name], config=config).format_help()
    for field, info in config.model_fields.items():
        assert field in text
        is_section = not info.description
        assert is_section is False or "." in text, field


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_a_function_that_takes_its_config(name):
    function = find(VERBS[name].function)
    first = next(iter(inspect.signature(function, eval_str=False).parameters.values()))
    assert first.name == "config"
    taken = {parent.__name__ for parent in find(VERBS[name].config).__mro__}
    named = getattr(first.annotation, "__name__", first.annotation)
    assert named in taken - {"object", "BaseModel"}


@pytest.mark.parametrize("name", VERBS)
def test_every_default_of_a_verb_that_needs_nothing_is_valid(name):
    config = find(VERBS[name].config)
    if all(not info.is_required() for info in config.model_fields.values()):
        assert isinstance(getattr(config(), "runtime", Runtime()), Runtime)


@pytest.mark.parametrize("name", VERBS)
def test_every_example_of_a_verb_can_be_read(name):
    for example in VERBS[name].loaded().examples:
        found, rest = split_verb(shlex.split(example))
        assert found == name
        parse_arguments(found, VERBS[found], config=find(VERBS[found].config), argv=rest)


def test_the_verbs_that_are_stages_are_the_stages_of_pipelines():
    found = {name: (verb.config, verb.function) for name, verb in VERBS.items() if verb.is_stage}
    assert found == {name: (stage.config, stage.function) for name, stage in STAGES.items()}


def test_every_positional_of_a_verb_is_a_field_of_its_config():
    for verb in (each.loaded() for each in VERBS.values()):
        if verb.positional:
            assert set(verb.positional) <= set(find(verb.config).model_fields)
