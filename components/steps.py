"""How a pipeline's step becomes a Kubeflow component: typed artifacts, one import, one call.

Kubeflow takes the source text of a function, so the text is written here, step by step, with nothing else in
it.
"""

import linecache
from typing import Any

from kfp import dsl

from components.image import component
from phenoscale.operations.pipelines.parameters import page_fields
from phenoscale.operations.pipelines.value import Pipeline, Step
from phenoscale.operations.running.component import METRICS, PAGE, RESOLVE
from phenoscale.operations.stage_table import artifact_of, find_stage

_SHOWN = {"": "", METRICS: "Metrics", PAGE: "HTML"}
_STEP = '''def {name}(
    config: str,
    run: str,
{artifacts}
) -> None:
    """{summary}."""
    from phenoscale.operations.running.component import run_component

    run_component({name!r}, pipeline={pipeline!r}, config=config, run=run, artifacts=dict({handed}))
'''
_RESOLVE = '''def resolve(
    kubeflow_run: str,
{fields}
) -> NamedTuple("Resolved", [("config", str), ("run", str)]):
    """Merge recipe, settings and parameters into one config in the workspace, which all steps read."""
    from phenoscale.operations.running.component import run_resolve

    return run_resolve({pipeline!r}, run=kubeflow_run, values=dict({handed}))
'''


def step_component(step: Step, *, pipeline: Pipeline) -> Any:
    """The component of a step; it takes the artifacts of the steps before it under their own names."""
    stage = find_stage(step.stage)
    inputs = [pipeline.find_step(name) for name in step.needs]
    artifacts = {artifact_of(found): f"Input[{find_stage(found.stage).kind}]" for found in inputs}
    artifacts[artifact_of(step)] = f"Output[{stage.kind}]"
    if stage.shows:
        artifacts[stage.shows] = f"Output[{_SHOWN[stage.shows]}]"
    text = _STEP.format(
        name=step.name,
        artifacts="\n".join(f"    {name}: {kind}," for name, kind in artifacts.items()),
        summary=stage.summary[0].upper() + stage.summary[1:],
        pipeline=pipeline.name,
        handed=_handed(artifacts),
    )
    return _component(step.name, text, pipeline=pipeline)


def resolve_component(pipeline: Pipeline) -> Any:
    """The component of a pipeline's first task."""
    kinds = {field.name: field.kind.__name__ for field in page_fields(pipeline)}
    text = _RESOLVE.format(
        fields="\n".join(f"    {name}: {kind}," for name, kind in kinds.items()),
        pipeline=pipeline.name,
        handed=_handed(kinds),
    )
    return _component(RESOLVE, text, pipeline=pipeline)


def _handed(names: Any) -> str:
    return ", ".join(f"{name}={name}" for name in names)


def _component(name: str, text: str, *, pipeline: Pipeline) -> Any:
    """Define a function whose source Kubeflow can read."""
    from typing import NamedTuple

    place = f"<component {name} of pipeline {pipeline.name}>"
    linecache.cache[place] = (len(text), None, text.splitlines(keepends=True), place)
    names: dict[str, Any] = {"NamedTuple": NamedTuple, **vars(dsl)}
    exec(compile(text, place, "exec"), names)
    return component(names[name])
