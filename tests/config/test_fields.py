"""Frozen configs and their three kinds of field."""

import pydantic
import pytest

from phenoscale.config import Config, Runtime, field_kind, location, runtime, setting


class MapConfig(Config):
    """A config with one field of each kind and a section."""

    components: int = setting(64, help="components to keep", gt=0)
    embeddings: str = location(help="embeddings to map")
    device: str = runtime("auto", help="where to run")
    names: tuple[str, ...] = setting(help="names", default_factory=lambda: ("a",))
    runtime: Runtime = Runtime()


def test_each_field_knows_its_kind_and_its_help():
    kinds = {name: field_kind(info) for name, info in MapConfig.model_fields.items()}
    assert kinds == {
        "components": "setting",
        "embeddings": "location",
        "device": "runtime",
        "names": "setting",
        "runtime": "setting",
    }
    assert MapConfig.model_fields["components"].description == "components to keep"


def test_every_field_of_the_runtime_section_is_runtime():
    assert {field_kind(info) for info in Runtime.model_fields.values()} == {"runtime"}


def test_a_config_cannot_be_changed_after_it_was_made():
    config = MapConfig()
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        config.components = 3


def test_a_field_without_default_is_required():
    class Strict(Config):
        depth: int = setting(help="number of blocks")

    with pytest.raises(pydantic.ValidationError, match="Field required"):
        Strict()


def test_a_factory_makes_the_default_anew():
    assert MapConfig().names == ("a",)
