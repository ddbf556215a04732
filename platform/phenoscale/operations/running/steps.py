"""Run one step of a pipeline: fill in where the earlier steps' outputs are, then run its stage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phenoscale.config import Config, Runtime, parse_config
from phenoscale.errors import UserError
from phenoscale.logs import get_logger, key_values
from phenoscale.operations.execute import execute
from phenoscale.operations.pipelines.configs import PipelineConfig, config_class
from phenoscale.operations.pipelines.graph import At, Source, Step, find_step
from phenoscale.operations.stage_table import find_stage
from phenoscale.stages import StageResult, complete_output

logger = get_logger(__name__)


@dataclass(frozen=True)
class Known:
    """An output that the process which started the run has found complete: where, and under which key."""

    path: str
    key: str


def run_step(
    step: str, *, pipeline: str, config: str, inputs: Mapping[str, str], known: Known | None = None
) -> StageResult:
    """Run one step of a pipeline.

    Args:
        step: the step's name, such as `embed_trained`.
        pipeline: the pipeline's name, such as `full`.
        config: the pipeline's config as JSON.
        inputs: output folder of each earlier step that this one reads.
        known: the step's output, when it has been found already; then its stage is not even imported.
    """
    found = find_step(step, pipeline=pipeline)
    if known is not None and find_stage(found.stage).is_pure:
        reused = complete_output(found.stage, folder=Path(known.path), key=known.key)
        if reused is not None:
            logger.info("%s", key_values(stage=found.stage, key=reused.path.name, status="reused"))
            return reused
    whole = parse_config(config_class(pipeline), json.loads(config), source="the pipeline's config")
    missing = [name for name in found.needs if name not in inputs and not is_left_out(name, whole)]
    if missing:
        raise UserError(
            f"step {step} needs the output of {', '.join(missing)}; run the steps before it first"
        )
    filled = step_config(found, whole, outputs=inputs)
    return execute(found.stage, filled, name=step, tags={"pipeline": whole.name, "step": step})


def is_left_out(step: str, pipeline: PipelineConfig) -> bool:
    """Whether a pipeline goes without a step: real plates are not simulated."""
    return step == "simulate" and pipeline.simulate is None


def step_config(step: Step, pipeline: PipelineConfig, *, outputs: Mapping[str, str]) -> Config:
    """The stage's config: the pipeline's section with its locations filled in and the shared runtime."""
    section: Config | None = getattr(pipeline, step.section)
    if section is None:
        raise UserError(f"the config has no section {step.section}, which step {step.name} reads; add it")
    given = section.model_dump(mode="json", exclude_unset=True)
    values: dict[str, Any] = {**given, **step.settings, "runtime": _runtime(section, pipeline)}
    if pipeline.seed is not None and "seed" in type(section).model_fields:
        values["seed"] = pipeline.seed
    for name, source in step.locations.items():
        found = _resolve(source, outputs=outputs)
        if found is not None:
            values[name] = _beside(given.get(name), found)
    return parse_config(type(section), values, source=f"section {step.section} of the pipeline's config")


def _runtime(section: Config, pipeline: PipelineConfig) -> dict[str, Any]:
    """The pipeline's runtime, with what the section itself sets laid over it."""
    own: Runtime = getattr(section, "runtime", Runtime())
    return {**pipeline.runtime.model_dump(mode="json"), **own.model_dump(mode="json", exclude_unset=True)}


def _resolve(source: Source, *, outputs: Mapping[str, str]) -> Any:
    """The places of a source, None when no step of this pipeline writes them."""
    if isinstance(source, At):
        return _place(source, outputs=outputs)
    if isinstance(source, Mapping):
        named = {name: _place(place, outputs=outputs) for name, place in source.items()}
        return {name: place for name, place in named.items() if place} or None
    return [found for found in (_place(place, outputs=outputs) for place in source) if found] or None


def _place(place: At, *, outputs: Mapping[str, str]) -> str | None:
    folder = outputs.get(place.step)
    return None if folder is None else str(Path(folder) / place.path) if place.path else folder


def _beside(given: Any, found: Any) -> Any:
    """Several places of the config's own stay beside those of the pipeline: more annotation sources, say."""
    if isinstance(found, list) and isinstance(given, list):
        return [*given, *found]
    if isinstance(found, dict) and isinstance(given, dict):
        return {**given, **found}
    return found
