"""Phenoscale: foundation models of cell microscopy, from high-content screens to maps of biology.

The names below are the Python interface; each is imported when it is first used.
"""

from importlib import import_module
from typing import Any

_PLACES = {
    "benchmark": "phenoscale.operations.python:benchmark",
    "embed": "phenoscale.operations.python:embed",
    "fit_map": "phenoscale.mapping.chain:fit_map",
    "load_annotations": "phenoscale.benchmarks.relations.annotations:read_annotations",
    "load_encoder": "phenoscale.models.encoder:load_encoder",
    "load_map": "phenoscale.schema.maps:read_map",
    "open_screen": "phenoscale.screens.store:open_screen",
    "probe": "phenoscale.operations.python:probe",
    "run": "phenoscale.operations.python:run",
    "simulate": "phenoscale.operations.python:simulate",
}

__all__ = [*_PLACES]


def __getattr__(name: str) -> Any:
    """Import a name of the interface."""
    if name not in _PLACES:
        raise AttributeError(f"phenoscale has no name {name!r}; it has {', '.join(_PLACES)}")
    module, attribute = _PLACES[name].split(":")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])
