"""Say what a run of the pipeline would do, without doing it: what is reused, what is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from phenoscale.config import Config
from phenoscale.operations.addresses import with_local_inputs
from phenoscale.operations.pipelines.config import PipelineConfig
from phenoscale.operations.pipelines.resolve import freeze
from phenoscale.operations.pipelines.value import Step
from phenoscale.operations.planning.crop_counts import count_crops
from phenoscale.operations.running.steps import step_config
from phenoscale.operations.stage_table import find_stage
from phenoscale.stages import plan_stage
from phenoscale.stages.workspace import open_workspace

_NAMES_SHOWN: Final = 3


@dataclass(frozen=True)
class StepPlan:
    """What one step would do.

    Attributes:
        step: the step's name.
        key: its key; empty while an input of it has still to be computed.
        path: its output folder, as far as the key is known.
        is_cached: whether its output is there.
        waits_for: the inputs that have still to be computed.
        num_crops: crops that the encoder sees in this step; None for steps without an encoder, or when the
            number of fields is not known yet.
    """

    step: str
    key: str
    is_cached: bool
    path: str = ""
    waits_for: tuple[str, ...] = ()
    num_crops: int | None = None


@dataclass(frozen=True)
class PipelinePlan:
    """What a run of the pipeline would do."""

    name: str
    workspace: str
    steps: tuple[StepPlan, ...]

    @property
    def num_left(self) -> int:
        """Steps that have to be computed."""
        return sum(not step.is_cached for step in self.steps)

    def text(self) -> str:
        """The plan for a person to read."""
        rows = [f"{self.name} in {self.workspace}"]
        width = max(len(step.step) for step in self.steps)
        for step in self.steps:
            state = "reused" if step.is_cached else "computed"
            key = step.key[:20] or f"key known after {_listed(step.waits_for)}"
            crops = f"  {step.num_crops:,} crops" if step.num_crops is not None else ""
            rows.append(f"  {step.step:{width}}  {state:8}  {key}{crops}")
        rows.append(f"{len(self.steps) - self.num_left} of {len(self.steps)} steps are reused")
        return "\n".join(rows)


def _listed(names: Sequence[str]) -> str:
    """The first few of many names."""
    if len(names) <= _NAMES_SHOWN + 1:
        return ", ".join(names)
    return f"{', '.join(names[:_NAMES_SHOWN])} and {len(names) - _NAMES_SHOWN} more"


def plan_pipeline(config: PipelineConfig) -> PipelinePlan:
    """Plan a pipeline: the keys of all steps whose inputs are there, and what is left to do.

    Raises:
        UserError: when the config or an input of a step is wrong.
    """
    config = freeze(config)
    outputs: dict[str, str] = {}
    plans = tuple(_plan_step(step, config, outputs=outputs) for step in config.steps)
    return PipelinePlan(config.name, open_workspace(config.runtime.workspace).uri, plans)


def _plan_step(step: Step, config: PipelineConfig, *, outputs: dict[str, str]) -> StepPlan:
    planned = {other.name for other in config.steps}
    waits_for = tuple(name for name in step.needs if name in planned and name not in outputs)
    if waits_for:
        return StepPlan(step.name, key="", is_cached=False, waits_for=waits_for)
    filled: Config = with_local_inputs(step_config(step, config, outputs=outputs))
    found = plan_stage(find_stage(step.stage).load_function(), filled)
    if found.is_cached:
        outputs[step.name] = str(found.path)
    num_crops = count_crops(filled)
    return StepPlan(step.name, found.key, found.is_cached, path=str(found.path), num_crops=num_crops)
