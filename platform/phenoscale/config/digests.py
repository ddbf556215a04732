"""Canonical JSON and the fingerprint of a config: what two equal computations have in common."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Collection, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any, Final

from phenoscale.config.fields import Config, FieldKind, Runtime, field_kind

ALL_KINDS: Final[tuple[FieldKind, ...]] = ("setting", "location", "runtime")
SETTINGS: Final[tuple[FieldKind, ...]] = ("setting",)


def canonical_json(value: Any) -> str:
    """Write a value as JSON that is equal for equal values: sorted keys, no spaces, NaN as null.

    Configs, dataclasses, paths, enums, tuples, sets and numpy scalars are written as what they hold.
    """
    return json.dumps(
        plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest_json(value: Any) -> str:
    """Return the sha256 of a value's canonical JSON, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def fingerprint(config: Config) -> str:
    """Return the sha256 of a config's settings; locations and runtime fields do not enter."""
    return digest_json(resolved(config, kinds=SETTINGS))


def resolved(config: Config, *, kinds: Collection[FieldKind] = ALL_KINDS) -> dict[str, Any]:
    """Return the fields of the given kinds as plain JSON values, section by section.

    A section in which no field is of these kinds is left out, so a config without settings has the same
    fingerprint whether its runtime section has grown or not.
    """
    fields: dict[str, Any] = {}
    for name, info in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, Config):
            section = resolved(value, kinds=kinds) if field_kind(info) in ("setting", *kinds) else {}
            if section or not type(value).model_fields:
                fields[name] = section
        elif field_kind(info) in kinds:
            fields[name] = _plain(value, kinds=kinds)
    return fields


def config_yaml(config: Config) -> str:
    """Write a config as the YAML file that would give it again.

    The runtime of an inner section is left out where it says nothing: written down, it would win over the
    runtime of the whole.
    """
    import yaml

    fields = resolved(config)
    for name in type(config).model_fields:
        _drop_default_runtime(getattr(config, name), fields=fields.get(name))
    return str(yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, default_flow_style=False))


def _drop_default_runtime(section: Any, *, fields: Any) -> None:
    if not isinstance(section, Config) or not isinstance(fields, dict):
        return
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Runtime) and value == Runtime():
            fields.pop(name, None)
        else:
            _drop_default_runtime(value, fields=fields.get(name))


def plain(value: Any) -> Any:
    """Turn a value into what JSON can hold: dict, list, str, int, float, bool, None."""
    return _plain(value, kinds=ALL_KINDS)


def _plain(value: Any, *, kinds: Collection[FieldKind]) -> Any:
    if isinstance(value, Config):
        return resolved(value, kinds=kinds)
    if isinstance(value, Enum):
        return _plain(value.value, kinds=kinds)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name), kinds=kinds) for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {str(key): _plain(entry, kinds=kinds) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry, kinds=kinds) for entry in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain(entry, kinds=kinds) for entry in value), key=canonical_json)
    return _plain_leaf(value)


def _plain_leaf(value: Any) -> Any:
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, str | int | None):
        return value
    if isinstance(value, PurePath):
        return str(value)
    # numpy scalars and arrays, without importing numpy
    for method in ("tolist", "item", "isoformat"):
        if hasattr(value, method):
            return plain(getattr(value, method)())
    raise TypeError(f"{type(value).__name__} cannot be written as JSON: {value!r}")
