"""Every pipeline by name; add one here. A row is "module:value", imported when it is asked for."""

from __future__ import annotations

from typing import Final

from phenoscale.errors import UserError
from phenoscale.operations.pipelines.value import Pipeline
from phenoscale.references import find

PIPELINES: Final[dict[str, str]] = {
    "full": "phenoscale.operations.pipelines.full:FULL",
    "families": "phenoscale.operations.pipelines.families:FAMILIES",
    "pretrain": "phenoscale.operations.pipelines.pretrain:PRETRAIN",
    "probe": "phenoscale.operations.pipelines.probe:PROBE",
    "map": "phenoscale.operations.pipelines.map:MAP",
    "challenge": "phenoscale.operations.pipelines.challenge:CHALLENGE",
}


def find_pipeline(name: str) -> Pipeline:
    """The pipeline of this name.

    Raises:
        UserError: when there is none.
    """
    if name not in PIPELINES:
        raise UserError(f"there is no pipeline {name!r}; choose one of: {', '.join(PIPELINES)}")
    found: Pipeline = find(PIPELINES[name])
    return found
