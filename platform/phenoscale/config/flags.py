"""Read command-line text by the type of the field it fills, and lay flags over a config file."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from phenoscale.config.fields import Config
from phenoscale.errors import UserError

_SEQUENCES: Final = (list, tuple, set, frozenset, Sequence)
_NOTHING: Final = ("none", "null")
_POWER_OF_TEN: Final = re.compile(r"\d+(\.\d*)?[eE]\+?\d{1,2}")


def interpret_flag(cls: type[Config], name: str, *, value: Any) -> Any:
    """Turn a flag's text into a value for the field `name` ("section.field") of a config class.

    - list: repeated flags, each a comma-separated list; text that starts with `[` is YAML.
    - dict: repeated `name=value` flags; text that starts with `{` is YAML.
    - section, or list or dict of sections: YAML.
    - optional: `none` and `null` mean no value.
    - whole number: `16e6` is 16000000.
    Everything else is left as text, which pydantic reads by the field's type.
    """
    annotation = annotation_of(cls, name)
    if annotation is None:
        return value
    texts = [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else None
    if texts is None or not all(isinstance(text, str) for text in texts):
        return value
    options = list(alternatives(annotation))
    if type(None) in options and texts[-1].lower() in _NOTHING:
        return None
    if any(typing.get_origin(option) in (dict, Mapping) or option is dict for option in options):
        return _read_mapping(name, texts)
    if any(typing.get_origin(option) in _SEQUENCES or option in _SEQUENCES for option in options):
        return _read_list(name, texts)
    if any(isinstance(option, type) and issubclass(option, Config) for option in options):
        return _read_yaml_text(name, texts[-1])
    if int in options and _POWER_OF_TEN.fullmatch(texts[-1]) and float(texts[-1]).is_integer():
        return int(float(texts[-1]))
    return texts[-1]


def annotation_of(cls: type[Config], name: str) -> Any:
    """Return the annotation of a dotted field, None when there is no such field."""
    head, _, rest = name.partition(".")
    info = cls.model_fields.get(head)
    if info is None:
        return None
    if not rest:
        return info.annotation
    for section in sections_in(info.annotation):
        found = annotation_of(section, rest)
        if found is not None:
            return found
    return None


def sections_in(annotation: Any) -> Iterator[type[Config]]:
    """Yield every config class that an annotation mentions, through unions, lists, dicts and Annotated."""
    if isinstance(annotation, type) and issubclass(annotation, Config):
        yield annotation
        return
    for part in typing.get_args(annotation):
        yield from sections_in(part)


def nest_flags(data: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested data with dotted flags laid over it; entries of a dict flag are added one by one."""
    merged = dict(data)
    for name, value in flags.items():
        head, _, rest = name.partition(".")
        below = merged.get(head)
        if rest:
            merged[head] = nest_flags(below if isinstance(below, Mapping) else {}, {rest: value})
        elif isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[head] = {**below, **value}
        else:
            merged[head] = value
    return merged


def alternatives(annotation: Any) -> Iterator[Any]:
    """Yield the types that a value may have, through unions and Annotated."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from alternatives(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for part in typing.get_args(annotation):
            yield from alternatives(part)
    else:
        yield annotation


def _read_list(name: str, texts: list[str]) -> list[Any]:
    values: list[Any] = []
    for text in texts:
        if text.lstrip().startswith(("[", "{")):
            read = _read_yaml_text(name, text)
            values.extend(read if isinstance(read, list) else [read])
        else:
            values.extend(part.strip() for part in text.split(",") if part.strip())
    return values


def _read_mapping(name: str, texts: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if text.lstrip().startswith("{"):
            read = _read_yaml_text(name, text)
            values.update(read if isinstance(read, dict) else {})
        elif equals and key.strip():
            values[key.strip()] = value.strip()
        else:
            raise UserError(
                f"--{name} {text!r} is not `name=value`; write --{name} NAME=VALUE, once per entry"
            )
    return values


def _read_yaml_text(name: str, text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"--{name} {text!r} is not valid YAML ({error}); quote it as a whole") from error
