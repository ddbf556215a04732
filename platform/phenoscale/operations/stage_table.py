"""Every stage by name: its config class and its function, named here and imported when needed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from phenoscale.config import Config
from phenoscale.errors import UserError
from phenoscale.stages import StageResult


@dataclass(frozen=True)
class Stage:
    """A stage; `config` and `function` are `module:name`, imported when they are needed."""

    config: str
    function: str

    def load_config_class(self) -> type[Config]:
        """Import the config class."""
        found: type[Config] = _load(self.config)
        return found

    def load_function(self) -> Callable[..., StageResult]:
        """Import the function that runs the stage."""
        found: Callable[..., StageResult] = _load(self.function)
        return found


def _stage(package: str, *, name: str) -> Stage:
    config = f"{package}.config:{name.capitalize()}Config"
    return Stage(config=config, function=f"{package}.stage:run_{name}")


STAGES: dict[str, Stage] = {
    "simulate": _stage("phenoscale.screens.simulate", name="simulate"),
    "ingest": _stage("phenoscale.screens.ingest", name="ingest"),
    "curate": _stage("phenoscale.curation", name="curate"),
    "pretrain": _stage("phenoscale.training", name="pretrain"),
    "import": _stage("phenoscale.models", name="import"),
    "probe": _stage("phenoscale.probing", name="probe"),
    "embed": _stage("phenoscale.inference", name="embed"),
    "map": _stage("phenoscale.mapping", name="map"),
    "benchmark": _stage("phenoscale.benchmarks", name="benchmark"),
    "register": Stage("phenoscale.registry.config:RegisterConfig", "phenoscale.registry.stage:run_register"),
    "promote": Stage("phenoscale.registry.config:PromoteConfig", "phenoscale.registry.stage:run_promote"),
    "report": _stage("phenoscale.reports", name="report"),
}


def find_stage(name: str) -> Stage:
    """The stage of this name.

    Raises:
        UserError: when there is none.
    """
    if name not in STAGES:
        raise UserError(f"there is no stage {name!r}; choose one of: {', '.join(STAGES)}")
    return STAGES[name]


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
