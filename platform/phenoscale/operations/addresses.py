"""Addresses in a config made paths that this machine can read: outputs in buckets, registered encoders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from phenoscale.config import Config, Runtime
from phenoscale.config.fields import field_kind
from phenoscale.stages import fetch_output
from phenoscale.stages.fetch import output_above
from phenoscale.storage import is_remote
from phenoscale.storage.mirror import address_of

MODEL: Final = "models:/"
AnyConfig = TypeVar("AnyConfig", bound=Config)


def with_local_inputs(config: AnyConfig) -> AnyConfig:
    """Return a config in which every output in a bucket, and every registered encoder, is a local path.

    What it names is fetched into this machine's cache. Raw data at an address stay there: readers open them.

    Raises:
        UserError: an address in the registry at which there is nothing.
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
            found = _local_value(value, runtime=runtime)
        else:
            continue
        if found != value:
            changed[name] = found
    return config.model_copy(update=changed) if changed else config


def _local_value(value: Any, *, runtime: Runtime) -> Any:
    if isinstance(value, str):
        return _local(value, runtime=runtime)
    if isinstance(value, list | tuple):
        return type(value)(_local_value(entry, runtime=runtime) for entry in value)
    if isinstance(value, Mapping):
        return {name: _local_value(entry, runtime=runtime) for name, entry in value.items()}
    return value


def _local(place: str, *, runtime: Runtime) -> str:
    if place.startswith(MODEL):
        from phenoscale.registry.fetch import fetch_encoder

        return str(fetch_encoder(place, runtime=runtime))
    is_output = output_above(place) is not None if is_remote(place) else address_of(place) is not None
    return str(fetch_output(place)) if is_output else place
