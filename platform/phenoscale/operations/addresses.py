"""Addresses in a config made paths that this machine can read: outputs in buckets, registered encoders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from phenoscale.config import Config, Runtime
from phenoscale.config.fields import field_kind, is_read_in_place
from phenoscale.stages import fetch_output
from phenoscale.stages.fetch import output_above
from phenoscale.storage import is_remote
from phenoscale.storage.mirror import address_of

MODEL: Final = "models:/"
AnyConfig = TypeVar("AnyConfig", bound=Config)


def with_local_inputs(config: AnyConfig) -> AnyConfig:
    """Return a config in which every output in a bucket, and every registered encoder, is a local path.

    What it names is fetched into this machine's cache. Raw data stay where they are, if
    the field reads them there.

    Raises:
        UserError: an address in the registry at which there is nothing, or one in a bucket that is in no
            output, where only outputs can be read.
        RetryError: the store or the registry is away.
    """
    return _localized(config, runtime=getattr(config, "runtime", None) or Runtime())


def _localized(config: AnyConfig, *, runtime: Runtime) -> AnyConfig:
    changed: dict[str, Any] = {}
    for name, info in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, Config):
            found: Any = _localized(value, runtime=runtime)
        elif field_kind(info) == "location":
            # what is written says itself where it may lie
            is_raw = is_read_in_place(info) or name == "output"
            found = _local_value(value, is_raw=is_raw, runtime=runtime)
        else:
            continue
        if found != value:
            changed[name] = found
    return config.model_copy(update=changed) if changed else config


def _local_value(value: Any, *, is_raw: bool, runtime: Runtime) -> Any:
    if isinstance(value, str):
        return _local(value, is_raw=is_raw, runtime=runtime)
    if isinstance(value, list | tuple):
        return type(value)(_local_value(entry, is_raw=is_raw, runtime=runtime) for entry in value)
    if isinstance(value, Mapping):
        return {name: _local_value(entry, is_raw=is_raw, runtime=runtime) for name, entry in value.items()}
    return value


def _local(place: str, *, is_raw: bool, runtime: Runtime) -> str:
    if place.startswith(MODEL):
        from phenoscale.registry.fetch import fetch_encoder

        return str(fetch_encoder(place, runtime=runtime))
    if is_raw and is_remote(place) and output_above(place) is None:
        return place
    return str(fetch_output(place)) if is_remote(place) or address_of(place) is not None else place
