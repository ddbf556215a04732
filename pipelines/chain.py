"""How a pipeline's value becomes a Kubeflow pipeline: a task that resolves the config, then the steps."""

import inspect
from collections.abc import Iterator
from typing import Any

from kfp import dsl
from kfp.dsl import PipelineTask

from components.steps import resolve_component, step_component
from phenoscale.operations.pipelines.parameters import PageField, page_fields
from phenoscale.operations.pipelines.value import Pipeline
from phenoscale.operations.running.component import RESOLVE
from phenoscale.operations.stage_table import artifact_of


def kubeflow_pipeline(pipeline: Pipeline) -> Any:
    """The pipeline as Kubeflow takes it: its parameters are fields that a person can fill."""
    fields = page_fields(pipeline)

    def chain(*values: Any) -> None:
        filled = dict(zip((field.name for field in fields), values, strict=True))
        resolve = resolve_component(pipeline)
        resolved = _named(resolve(kubeflow_run=dsl.PIPELINE_JOB_ID_PLACEHOLDER, **filled), RESOLVE)
        artifacts: dict[str, Any] = {}
        for step in pipeline.steps:
            inputs = [artifact_of(pipeline.find_step(name)) for name in step.needs]
            task = step_component(step, pipeline=pipeline)(
                config=resolved.outputs["config"],
                run=resolved.outputs["run"],
                **{name: artifacts[name] for name in inputs},
            )
            name = artifact_of(step)
            artifacts[name] = _named(task, step.name).outputs[name]

    chain.__signature__ = inspect.Signature(list(_parameters(fields)))  # type: ignore[attr-defined]
    chain.__doc__ = "\n".join(
        [f"{pipeline.summary}.", "", "Args:", *(f"    {field.name}: {field.help}" for field in fields)]
    )
    # Kubeflow takes a pipeline for its own step where both have one name, as `probe` would.
    return dsl.pipeline(name=f"phenoscale-{pipeline.name}", description=pipeline.summary)(chain)


def _parameters(fields: tuple[PageField, ...]) -> Iterator[inspect.Parameter]:
    for field in fields:
        yield inspect.Parameter(
            field.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=field.default,
            annotation=field.kind,
        )


def _named(task: PipelineTask, step: str) -> PipelineTask:
    """Show the step's own name, and keep Kubeflow's cache off: it cannot see code changes inside an image."""
    return task.set_display_name(step).set_caching_options(enable_caching=False)
