"""The first task of a run: merge recipe, settings and parameters into one immutable config in the workspace.

Later tasks take only its address, `<workspace>/configs/<digest>.json`: Kubeflow expands and copies
parameters, and a config is too large for one. What may change while a run is under way is frozen here: the
screens below a prefix, the version behind an alias.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from phenoscale.config import Runtime, canonical_json, digest_json, parse_config
from phenoscale.config.flags import interpret_flag, nest_flags
from phenoscale.config.load import parse_yaml, read_yaml
from phenoscale.errors import UserError
from phenoscale.operations.addresses import MODEL
from phenoscale.operations.pipelines.config import PipelineConfig, config_class, laid_over
from phenoscale.operations.pipelines.parameters import RECIPE, SETTINGS, filled_fields
from phenoscale.operations.pipelines.value import Pipeline
from phenoscale.recipes import find_recipe
from phenoscale.schema.screen import SCREEN_FILE
from phenoscale.stages.records import LINEAGE, SUCCESS, read_json
from phenoscale.storage import open_storage, read_uri

_NUM_DIGITS: Final = 20


def resolve_parameters(pipeline: Pipeline, values: Mapping[str, Any]) -> PipelineConfig:
    """Merge the recipe, the settings file and the filled fields of Kubeflow's page, each over the one before.

    Raises:
        UserError: no such recipe, an unreadable file, or a value that breaks a rule.
    """
    recipe, settings = str(values.get(RECIPE, "")), str(values.get(SETTINGS, ""))
    data: dict[str, Any] = read_yaml(find_recipe(recipe)) if recipe else {}
    if settings:
        data = laid_over(data, parse_yaml(read_uri(settings).decode(), source=settings))
    config = config_class(pipeline)
    filled = {
        field: interpret_flag(config, field, value=value)
        for field, value in filled_fields(pipeline, values).items()
    }
    sources = ", ".join(name for name in (recipe, settings, *values) if name)
    return parse_config(config, nest_flags(data, filled), source=f"{sources} of pipeline {pipeline.name}")


def freeze(config: PipelineConfig) -> PipelineConfig:
    """The config with its places as they are now: the screens below a prefix, the version behind an alias.

    Raises:
        UserError: there is no screen below a prefix, or no such alias.
    """
    frozen: dict[str, str | tuple[str, ...]] = {}
    for name in config.pipeline.places:
        value = getattr(config, name)
        if isinstance(value, str):
            frozen[name] = _frozen_version(value, config.runtime)
        else:
            frozen[name] = tuple(
                dict.fromkeys(found for place in value for found in _finished_screens(place))
            )
    changed = {name: value for name, value in frozen.items() if value != getattr(config, name)}
    return config.model_copy(update=changed) if changed else config


def keep_config(config: PipelineConfig) -> str:
    """Write a config into its workspace under its digest, and return its address.

    What was not set stays unset, so that sections inherit when it is read.
    """
    data = config.model_dump(mode="json", exclude_unset=True)
    name = f"configs/{digest_json(data)[:_NUM_DIGITS]}.json"
    workspace = config.runtime.workspace.rstrip("/")
    open_storage(workspace).create_bytes(name, canonical_json(data).encode())
    return f"{workspace}/{name}"


def read_config(pipeline: Pipeline, address: str) -> PipelineConfig:
    """Read what `keep_config` wrote."""
    return parse_config(config_class(pipeline), json.loads(read_uri(address)), source=address)


def _finished_screens(place: str) -> Sequence[str]:
    """The outputs of `ingest` at a place: itself, or the newest of each screen in a folder or a workspace."""
    storage = open_storage(place)
    if storage.exists(SUCCESS):
        return [place]
    folders = [*storage.folders(), *(f"ingest/{name}" for name in storage.folders("ingest"))]
    newest: dict[str, tuple[str, str]] = {}
    for folder in sorted(folders):
        record = read_json(storage, f"{folder}/{LINEAGE}") if storage.exists(f"{folder}/{SUCCESS}") else {}
        if record.get("stage") != "ingest":
            continue
        screen = str(read_json(storage, f"{folder}/{SCREEN_FILE}").get("screen", folder))
        newest[screen] = max(newest.get(screen, ("", "")), (str(record.get("started")), folder))
    if newest:
        return sorted(f"{place.rstrip('/')}/{folder}" for _, folder in newest.values())
    raise UserError(
        f"{place} is no finished screen and holds none; give the output of `ingest`, a folder that holds "
        "such outputs, or a workspace"
    )


def _frozen_version(address: str, runtime: Runtime) -> str:
    """An encoder's address with the version that its alias points at now."""
    if not (address.startswith(MODEL) and "@" in address):
        return address
    from phenoscale.registry.fetch import find_version
    from phenoscale.registry.store import Registry

    version = find_version(address, registry=Registry(runtime))
    return f"{MODEL}{version.name}/{version.version}"
