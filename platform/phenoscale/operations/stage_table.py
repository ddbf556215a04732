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
    """A stage; `config` and `function` are `module:name`, imported when they are needed.

    Attributes:
        config: its config class.
        function: what runs it.
        is_pure: whether its output folder is all that it does; the registry's stages also change a
            registry, so a complete folder alone does not mean that they are done.
    """

    config: str
    function: str
    is_pure: bool = True

    def load_config_class(self) -> type[Config]:
        """Import the config class."""
        found: type[Config] = _load(self.config)
        return found

    def load_function(self) -> Callable[..., StageResult]:
        """Import the function that runs the stage."""
        found: Callable[..., StageResult] = _load(self.function)
        return found


def _stage(package: str, *, name: str, is_pure: bool = True) -> Stage:
    config = f"{package}.config:{name.capitalize()}Config"
    return Stage(config=config, function=f"{package}.stage:run_{name}", is_pure=is_pure)


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
    "register": _stage("phenoscale.registry", name="register", is_pure=False),
    "promote": _stage("phenoscale.registry", name="promote", is_pure=False),
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
