"""Every step of a map by name: `module:class`, imported when a config names the step. Add yours here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from phenoscale.config import parse_config
from phenoscale.config.problems import suggest
from phenoscale.errors import UserError
from phenoscale.mapping.steps.step import Step
from phenoscale.references import find

_HERE: Final = "phenoscale.mapping.steps"

STEPS: Final[dict[str, str]] = {
    "center": f"{_HERE}.center:CenterStep",
    "center_scale": f"{_HERE}.center:CenterScaleStep",
    "pca": f"{_HERE}.pca:PcaStep",
    "tvn": f"{_HERE}.tvn:TvnStep",
    "position": f"{_HERE}.position:PositionStep",
    "aggregate": f"{_HERE}.aggregate:AggregateStep",
    "arm_correction": f"{_HERE}.arm_correction:ArmCorrectionStep",
}


def step_class(name: str) -> type[Step]:
    """The config class of a step.

    Raises:
        UserError: there is none of this name.
    """
    if name not in STEPS:
        raise UserError(f"there is no map step {name!r}; {suggest(name, list(STEPS))}")
    loaded: type[Step] = find(STEPS[name])
    return loaded


def parse_steps(given: Any) -> tuple[Step, ...]:
    """Parse the list of steps of a config: mappings with a `name`, or steps.

    Raises:
        UserError: no list, an entry without a name, an unknown step or setting.
    """
    if isinstance(given, str | Mapping) or not isinstance(given, Sequence):
        raise UserError(f"steps are {given!r}, but must be a list of steps; write [{{name: center}}, ...]")
    return tuple(_parse_step(entry, number) for number, entry in enumerate(given))


def _parse_step(entry: Any, number: int) -> Step:
    if isinstance(entry, Step):
        return entry
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
        raise UserError(
            f"steps[{number}] is {entry!r}, but a step is a mapping with a name, one of {', '.join(STEPS)}; "
            "write {name: center}"
        )
    return parse_config(step_class(entry["name"]), entry, source=f"steps[{number}]")
