"""Run one step of a pipeline: fill in where the earlier steps' outputs are, then run its stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phenoscale.config import Config, Runtime, parse_config
from phenoscale.errors import UserError
from phenoscale.logs import get_logger, key_values
from phenoscale.operations.execute import execute
from phenoscale.operations.pipelines.config import PipelineConfig
from phenoscale.operations.pipelines.value import At, FirstOf, Given, Source, Step
from phenoscale.operations.stage_table import find_stage
from phenoscale.stages import StageResult, complete_output

logger = get_logger(__name__)


@dataclass(frozen=True)
class Known:
    """An output that the process which started the run has found complete: where, and under which key."""

    path: str
    key: str


def run_step(
    step: Step, *, config: PipelineConfig, inputs: Mapping[str, str], known: Known | None = None
) -> StageResult:
    """Run one step of a pipeline.

    Args:
        step: the step.
        config: the pipeline's config.
        inputs: output folder of each earlier step that this one reads.
        known: the step's output, when it has been found already; then its stage is not even imported.
    """
    if known is not None and find_stage(step.stage).is_pure:
        reused = complete_output(step.stage, folder=Path(known.path), key=known.key)
        if reused is not None:
            logger.info("%s", key_values(stage=step.stage, key=reused.path.name, status="reused"))
            return reused
    planned = {other.name for other in config.steps}
    missing = [name for name in step.needs if name in planned and name not in inputs]
    if missing:
        raise UserError(
            f"step {step.name} needs the output of {', '.join(missing)}; run the steps before it first"
        )
    filled = step_config(step, config, outputs=inputs)
    return execute(step.stage, filled, name=step.name, tags={"pipeline": config.name, "step": step.name})


def step_config(step: Step, pipeline: PipelineConfig, *, outputs: Mapping[str, str]) -> Config:
    """The stage's config: the pipeline's section with its locations filled in and the shared runtime."""
    name = step.section_name
    section: Config | None = getattr(pipeline, name)
    if section is None:
        raise UserError(f"the config has no section {name}, which step {step.name} reads; add it")
    given = section.model_dump(mode="json", exclude_unset=True)
    values: dict[str, Any] = {**given, **step.settings, "runtime": _runtime(section, pipeline)}
    if pipeline.seed is not None and "seed" in type(section).model_fields:
        values["seed"] = pipeline.seed
    for field, source in step.locations.items():
        found = _resolve(source, pipeline=pipeline, outputs=outputs)
        if found:
            values[field] = _beside(given.get(field), found)
    return parse_config(type(section), values, source=f"section {name} of the pipeline's config")


def _runtime(section: Config, pipeline: PipelineConfig) -> dict[str, Any]:
    """The pipeline's runtime, with what the section itself sets laid over it."""
    own: Runtime = getattr(section, "runtime", Runtime())
    return {**pipeline.runtime.model_dump(mode="json"), **own.model_dump(mode="json", exclude_unset=True)}


def _resolve(
    source: Source, *, pipeline: PipelineConfig, outputs: Mapping[str, str]
) -> str | list[str] | dict[str, str]:
    """The places of a source; empty when no step of this run writes them and nobody gave them."""
    if isinstance(source, Mapping):
        named = {name: _places(place, pipeline=pipeline, outputs=outputs) for name, place in source.items()}
        return {name: places[0] for name, places in named.items() if places}
    if isinstance(source, tuple):
        return [found for place in source for found in _places(place, pipeline=pipeline, outputs=outputs)]
    several = source.places if isinstance(source, FirstOf) else (source,)
    found = [place for entry in several for place in _places(entry, pipeline=pipeline, outputs=outputs)]
    return found[0] if found else ""


def _places(place: At | Given, *, pipeline: PipelineConfig, outputs: Mapping[str, str]) -> list[str]:
    if isinstance(place, Given):
        given: str | tuple[str, ...] = getattr(pipeline, place.place)
        return list(given) if isinstance(given, tuple) else [given] if given else []
    folder = outputs.get(place.step, "")
    return [f"{folder.rstrip('/')}/{place.path}" if place.path else folder] if folder else []


def _beside(given: Any, found: Any) -> Any:
    """Several places of the config's own stay beside those of the pipeline: more annotation sources, say."""
    if isinstance(found, list) and isinstance(given, list):
        return [*given, *found]
    if isinstance(found, dict) and isinstance(given, dict):
        return {**given, **found}
    return found
