"""Run a pipeline on this machine: its steps under kfp.local, or all in this process."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from phenoscale.cluster.local_pipeline import run_compiled
from phenoscale.compiled import compiled_pipeline
from phenoscale.errors import EXIT_BUG, EXIT_DONE, RetryError
from phenoscale.logs import keep_last_lines
from phenoscale.operations.pipelines.configs import PipelineConfig
from phenoscale.operations.pipelines.graph import Step, steps_of
from phenoscale.operations.planning.plan import plan_pipeline
from phenoscale.operations.running.component import EVENT_PREFIX
from phenoscale.operations.running.console import Console
from phenoscale.operations.running.records import (
    find_failure,
    host_of_run,
    process_of_step,
    read_known,
    read_result,
    record_failure,
    running_processes,
    wait_for_orphans,
    write_known,
    write_result,
)
from phenoscale.operations.running.steps import Known, run_step
from phenoscale.operations.running.summary import RunSummary, summarize
from phenoscale.stages import StageResult
from phenoscale.stages.failure import Failure


@dataclass(frozen=True)
class _Run:
    """One run of the pipeline: what every way of running it needs."""

    config: PipelineConfig
    steps: tuple[Step, ...]
    folder: Path
    console: Console

    @property
    def config_json(self) -> str:
        """The config as the steps get it: what was not set stays unset, so that sections inherit."""
        return self.config.model_dump_json(exclude_unset=True)


def run_pipeline(config: PipelineConfig) -> RunSummary:
    """Run a pipeline; steps that are done are reused.

    Raises:
        UserError: a step refused its input or config (exit code 2).
        RetryError: the run was stopped, a step was killed, or something it needs was away (75).
        PhenoscaleError: a step failed for a reason of our own making (70).
    """
    config = _with_absolute_workspace(config)
    workspace = Path(config.runtime.workspace)
    steps = steps_of(config.pipeline, with_simulate=config.simulate is not None)
    console = Console([step.name for step in steps])
    for step in wait_for_orphans(workspace / "runs"):
        console.say(f"waited for step {step} of an earlier, killed run to stop")
    plan = plan_pipeline(config)
    run = _Run(config, steps, _new_folder(workspace), console)
    for step_plan in plan.steps:
        if step_plan.is_cached:
            write_known(run.folder, step_plan.step, known=Known(step_plan.path, step_plan.key))
    console.say(f"{config.name}: {len(steps)} steps, log in {run.folder / 'pipeline.log'}")
    with host_of_run(run.folder), _parent_run(run, is_needed=plan.num_left > 0) as tracked:
        results = _run_here(tracked) if config.in_process else _run_under_kfp(tracked)
    return summarize(config, results=results, seconds=console.seconds, run_folder=run.folder)


def _run_under_kfp(run: _Run) -> dict[str, StageResult]:
    name = run.config.pipeline + ("" if run.config.simulate is None else "_simulated")
    events = _Events(run)
    has_succeeded = run_compiled(
        compiled_pipeline(name),
        arguments={"config": run.config_json, "run_folder": str(run.folder)},
        run_folder=run.folder,
        on_line=events.line,
        running_processes=lambda: running_processes(run.folder),
    )
    results = {step.name: read_result(run.folder, step.name) for step in run.steps}
    found = {name: result for name, result in results.items() if result is not None}
    if not has_succeeded or len(found) < len(run.steps):
        _raise(find_failure(run.folder) or events.failure or _unexplained(run.folder))
    return found


class _Events:
    """Reads what the steps print: their events, and lines for people."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self.failure: Failure | None = None

    def line(self, text: str) -> None:
        """Take one line of the pipeline's output."""
        if not text.startswith(EVENT_PREFIX):
            self._run.console.line(text)
            return
        event = json.loads(text.removeprefix(EVENT_PREFIX))
        step, kind = event["step"], event["event"]
        if kind == "finished":
            self._run.console.finished(step, result=read_result(self._run.folder, step))
        elif kind == "failed":
            self.failure = Failure(step, int(event["exit_code"]), event["message"])


def _run_here(run: _Run) -> dict[str, StageResult]:
    results: dict[str, StageResult] = {}
    for step in run.steps:
        inputs = {name: str(results[name].path) for name in step.needs if name in results}
        with process_of_step(run.folder, step.name), keep_last_lines() as lines:
            try:
                known = read_known(run.folder, step.name)
                result = run_step(
                    step.name,
                    pipeline=run.config.pipeline,
                    config=run.config_json,
                    inputs=inputs,
                    known=known,
                )
            except BaseException as error:
                record_failure(run.folder, step.name, error=error, lines=lines)
                raise
        write_result(run.folder, step.name, result=result)
        results[step.name] = result
        run.console.finished(step.name, result=result)
    return results


@contextmanager
def _parent_run(run: _Run, *, is_needed: bool) -> Iterator[_Run]:
    """The MLflow run under which the steps' runs are nested; a run in which all is reused needs none."""
    if not is_needed or importlib.util.find_spec("mlflow") is None:
        yield run
        return
    from phenoscale.tracking.tracker import create_parent_run, finish_parent_run

    runtime = run.config.runtime
    run_id = create_parent_run(runtime, name=run.config.name, tags={"run_folder": str(run.folder)})
    nested = run.config.model_copy(update={"runtime": runtime.model_copy(update={"parent_run_id": run_id})})
    try:
        yield replace(run, config=nested)
    except BaseException as error:
        status = "KILLED" if isinstance(error, RetryError | KeyboardInterrupt) else "FAILED"
        finish_parent_run(runtime, run_id=run_id, status=status)
        raise
    finish_parent_run(runtime, run_id=run_id)


def _with_absolute_workspace(config: PipelineConfig) -> PipelineConfig:
    """The steps may start in another folder."""
    workspace = str(Path(config.runtime.workspace).resolve())
    return config.model_copy(update={"runtime": config.runtime.model_copy(update={"workspace": workspace})})


def _new_folder(workspace: Path) -> Path:
    """A folder of its own for this run's records; two runs started in the same second do not share one."""
    began = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    number = 0
    while True:
        folder = workspace / "runs" / (f"{began}-{number}" if number else began)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder


def _unexplained(run_folder: Path) -> Failure:
    log = run_folder / "pipeline.log"
    return Failure("", EXIT_BUG, f"the pipeline ended early without a record of the reason; see {log}")


def _raise(failure: Failure) -> NoReturn:
    """Turn a step's failure into the error of this process, with the step's exit code."""
    assert failure.exit_code != EXIT_DONE, failure
    if failure.exit_code == EXIT_BUG:
        last = "".join(f"\n  {line}" for line in failure.last_log_lines[-5:])
        failure = replace(failure, message=f"{failure.message}{last}")
    raise failure.as_error(f"step {failure.name}: " if failure.name else "")
