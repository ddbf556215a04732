"""Fill a config from a YAML file and flags; all mistakes are reported at once, with source and way out."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from functools import reduce
from pathlib import Path
from typing import Any, Final, TypeVar

import pydantic

from phenoscale.config.fields import Config
from phenoscale.config.flags import interpret_flag, nest_flags
from phenoscale.config.problems import describe_problems
from phenoscale.errors import UserError

ConfigT = TypeVar("ConfigT", bound=Config)

_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_]\w*)(:-([^}]*))?\}")


def parse_config(cls: type[ConfigT], data: Mapping[str, Any], *, source: str) -> ConfigT:
    """Turn outside data into a config.

    Args:
        cls: the config class.
        data: nested mapping of field names to values.
        source: where the data came from, for the error message.

    Raises:
        UserError: lists every field that breaks a rule; an unknown one with its nearest valid name.
    """
    return _validate(cls, data, origin=lambda field: source)


def load_config(cls: type[ConfigT], file: Path | None, *, flags: Mapping[str, Any]) -> ConfigT:
    """Fill a config from a YAML file and from flags; flags win.

    Args:
        cls: the config class.
        file: YAML file; `${VAR}` and `${VAR:-default}` in its strings are replaced from the environment.
        flags: values by dotted field name ("model.depth"); strings are read by the field's type, entries of a
            dict field are added to the file's, everything else replaces it.
    """
    data = read_yaml(file) if file is not None else {}
    values = {name: interpret_flag(cls, name, value=value) for name, value in flags.items()}
    merged = nest_flags(data, values)

    def origin(field: str) -> str:
        for flag in values:
            if field == flag or field.startswith(flag + ".") or flag.startswith(field + "."):
                return f"flag --{flag}"
        return f"file {file}" if file is not None else "flags"

    return _validate(cls, merged, origin=origin)


def require(config: Config, field: str, *, verb: str) -> str:
    """Return a location that the verb cannot do without.

    Raises:
        UserError: when it is empty.
    """
    value: Any = reduce(getattr, field.split("."), config)
    if isinstance(value, str | Path) and str(value):
        return str(value)
    name = field.split(".")[-1]
    raise UserError(
        f"{verb} needs --{field}, got {value!r}; give the path or URI of the {name}, "
        f"as a flag (--{field} PATH) or in the config file"
    )


def read_yaml(file: Path) -> dict[str, Any]:
    """Read a YAML mapping from a file and replace environment variables in its strings."""
    try:
        text = file.read_text()
    except FileNotFoundError as error:
        raise UserError(f"config file {file} does not exist; check the path given to --config") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"config file {file} cannot be read ({error}); give a readable YAML file") from error
    return parse_yaml(text, source=str(file))


def parse_yaml(text: str, *, source: str) -> dict[str, Any]:
    """Read a YAML mapping from a text and replace environment variables in its strings."""
    import yaml

    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"config file {source} is not valid YAML: {error}; correct it there") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise UserError(
            f"config file {source} holds a {type(data).__name__}, a config is a mapping; write `field: value`"
        )
    missing: list[str] = []
    expanded: dict[str, Any] = _expand(data, missing=missing)
    if missing:
        raise UserError(
            f"config file {source} uses environment variables that are not set: {', '.join(missing)}; "
            f"set them, or write ${{NAME:-default}}"
        )
    return expanded


def _expand(value: Any, *, missing: list[str]) -> Any:
    if isinstance(value, dict):
        return {str(key): _expand(entry, missing=missing) for key, entry in value.items()}
    if isinstance(value, list):
        return [_expand(entry, missing=missing) for entry in value]
    return _VARIABLE.sub(_replacement(missing), value) if isinstance(value, str) else value


def _replacement(missing: list[str]) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        name, has_default, default = match.group(1), match.group(2), match.group(3)
        value = os.environ.get(name)
        # as in a shell, `:-` also replaces a variable that is set but empty
        if has_default is not None:
            return value or default
        if value is None and name not in missing:
            missing.append(name)
        return value or ""

    return replace


def _validate(cls: type[ConfigT], data: Mapping[str, Any], *, origin: Callable[[str], str]) -> ConfigT:
    try:
        return cls.model_validate(dict(data))
    except pydantic.ValidationError as error:
        raise UserError(describe_problems(cls, error, origin=origin)) from error
