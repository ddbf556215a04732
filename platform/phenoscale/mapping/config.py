"""Settings of `map`: the ordered steps, the strata and what stays out of the map."""

from __future__ import annotations

from typing import Any

import pydantic
from pydantic import field_validator, model_validator

from phenoscale.config import Config, Runtime, location, setting
from phenoscale.errors import UserError
from phenoscale.mapping.steps.step import AggregationStep, MapStep, Step, WellStep
from phenoscale.mapping.steps.table import parse_steps


def _default_steps() -> tuple[Step, ...]:
    return parse_steps([{"name": "center_scale"}, {"name": "aggregate"}])


class MapConfig(Config):
    """Turn well embeddings into a map of perturbations by an ordered list of steps.

    Well-level steps (center, center_scale, pca, tvn, position) stand before `aggregate`, gene-level ones
    (arm_correction) after it. Statistics are fitted on negative controls unless a step says otherwise, and
    every fitted parameter is kept with the map. Controls stay out of the map.
    """

    embeddings: str = location("", help="output of `embed`, or any embedding table of wells")
    genes: str = location("", help="CSV with gene, arm and expression, for arm_correction")
    steps: tuple[pydantic.SerializeAsAny[Step], ...] = setting(
        default_factory=_default_steps, help="the steps, in order, as YAML: [{name: center}, ...]"
    )
    strata: tuple[str, ...] = setting(
        ("cell_type", "timepoint_h"), help="columns whose values are never averaged over"
    )
    include_positive_controls: bool = setting(False, help="keep positive controls in the map")
    keep_steps: bool = setting(True, help="also write the map after each step, to show what each step did")
    runtime: Runtime = Runtime()

    @field_validator("steps", mode="before")
    @classmethod
    def _steps_by_name(cls, given: Any) -> tuple[Step, ...]:
        return parse_steps(given)

    @model_validator(mode="after")
    def _order_of_steps(self) -> MapConfig:
        names = [step.name for step in self.steps]
        places = [number for number, step in enumerate(self.steps) if isinstance(step, AggregationStep)]
        if len(places) != 1:
            raise UserError(
                f"steps are {names}, but a map needs exactly one `aggregate`; "
                "put it after the well-level steps and before arm_correction"
            )
        middle = places[0]
        late = [step.name for step in self.steps[middle + 1 :] if not isinstance(step, MapStep)]
        early = [step.name for step in self.steps[:middle] if not isinstance(step, WellStep)]
        if late or early:
            raise UserError(
                f"steps are {names}, but {late + early} stands on the wrong side of `aggregate`: well-level "
                "steps come before it, gene-level ones (arm_correction) after it; reorder them"
            )
        return self

    @property
    def gene_columns(self) -> tuple[str, ...]:
        """The columns of the gene table that the steps read, each once."""
        return tuple(dict.fromkeys(name for step in self.steps for name in step.gene_columns))
