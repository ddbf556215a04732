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
from phenoscale.errors import EXIT_BUG, EXIT_DONE, EXIT_RETRY, RetryError
from phenoscale.operations.pipelines.config import PipelineConfig
from phenoscale.operations.pipelines.parameters import RUN, SETTINGS
from phenoscale.operations.pipelines.resolve import freeze, keep_config
from phenoscale.operations.planning.plan import plan_pipeline
from phenoscale.operations.running.component import EVENT_PREFIX, recorded_step
from phenoscale.operations.running.console import Console
from phenoscale.operations.running.processes import (
    host_of_run,
    killed_step,
    require_no_host,
    running_processes,
    wait_for_orphans,
)
from phenoscale.operations.running.records import RUNS, RunFacts, RunRecords, open_records
from phenoscale.operations.running.steps import Known, run_step
from phenoscale.operations.running.summary import RunSummary, summarize
from phenoscale.stages import StageResult
from phenoscale.stages.failure import Failure
from phenoscale.stages.workspace import open_workspace


@dataclass(frozen=True)
class _Run:
    """One run of the pipeline: what every way of running it needs."""

    config: PipelineConfig
    address: str
    records: RunRecords
    console: Console

    @property
    def log(self) -> Path:
        """What kfp and the steps print."""
        return self.records.folder / "pipeline.log"


def run_pipeline(config: PipelineConfig) -> RunSummary:
    """Run a pipeline; steps that are done are reused.

    Raises:
        UserError: a step refused its input or config (exit code 2).
        RetryError: another run of the workspace is alive, the run was stopped, a step was killed, or
            something it needs was away (75).
        PhenoscaleError: a step failed for a reason of our own making (70).
    """
    workspace = open_workspace(config.runtime.workspace)
    # the steps may start in another folder
    config = freeze(config.with_runtime(workspace=workspace.uri))
    console = Console([step.name for step in config.steps])
    require_no_host(workspace.root / RUNS)
    for step in wait_for_orphans(workspace.root / RUNS):
        console.say(f"waited for step {step} of an earlier, killed run to stop")
    plan = plan_pipeline(config)
    run = _Run(config, keep_config(config), _new_records(workspace.root, uri=workspace.uri), console)
    for step_plan in plan.steps:
        if step_plan.is_cached:
            run.records.write_known(step_plan.step, known=Known(step_plan.path, step_plan.key))
    console.say(f"{config.name}: {len(config.steps)} steps, log in {run.log}")
    with host_of_run(run.records.folder), _parent_run(run, is_needed=plan.num_left > 0) as tracked:
        results = _run_here(tracked) if config.in_process else _run_under_kfp(tracked)
    return summarize(config, results=results, seconds=console.seconds, log=run.log)


def _run_under_kfp(run: _Run) -> dict[str, StageResult]:
    events, folder = _Events(run), run.records.folder
    has_succeeded = run_compiled(
        compiled_pipeline(run.config.pipeline.name),
        arguments={SETTINGS: run.address, RUN: folder.name},
        run_folder=folder,
        on_line=events.line,
        running_processes=lambda: running_processes(folder),
    )
    results = {step.name: run.records.read_result(step.name) for step in run.config.steps}
    found = {name: result for name, result in results.items() if result is not None}
    if not has_succeeded or len(found) < len(results):
        _raise(run.records.find_failure(list(results)) or events.failure or _unexplained(run))
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
            self._run.console.finished(step, result=self._run.records.read_result(step))
        elif kind == "failed":
            self.failure = Failure(step, int(event["exit_code"]), event["message"])


def _run_here(run: _Run) -> dict[str, StageResult]:
    results: dict[str, StageResult] = {}
    for step in run.config.steps:
        inputs = {name: str(results[name].path) for name in step.needs if name in results}
        with recorded_step(step, records=run.records):
            known = run.records.read_known(step.name)
            result = run_step(step, config=run.config, inputs=inputs, known=known)
        run.records.write_result(step.name, result=result)
        results[step.name] = result
        run.console.finished(step.name, result=result)
    return results


@contextmanager
def _parent_run(run: _Run, *, is_needed: bool) -> Iterator[_Run]:
    """The MLflow run under which the steps' runs are nested; a run in which all is reused needs none."""
    facts = RunFacts(pipeline=run.config.pipeline.name, config=run.address)
    if not is_needed or importlib.util.find_spec("mlflow") is None:
        run.records.write_facts(facts)
        yield run
        return
    from phenoscale.tracking.tracker import create_parent_run, finish_parent_run

    runtime = run.config.runtime
    run_id = create_parent_run(runtime, name=run.config.name, tags={"run_folder": str(run.records.folder)})
    run.records.write_facts(replace(facts, parent_run_id=run_id))
    try:
        yield replace(run, config=run.config.with_runtime(parent_run_id=run_id))
    except BaseException as error:
        status = "KILLED" if isinstance(error, RetryError | KeyboardInterrupt) else "FAILED"
        finish_parent_run(runtime, run_id=run_id, status=status)
        raise
    finish_parent_run(runtime, run_id=run_id)


def _new_records(root: Path, *, uri: str) -> RunRecords:
    """Records of this run's own; two runs started in the same second do not share them."""
    began = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    number = 0
    while True:
        name = f"{began}-{number}" if number else began
        try:
            (root / RUNS / name).mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return open_records(uri, run=name)


def _unexplained(run: _Run) -> Failure:
    killed = killed_step(run.records.folder)
    if killed:
        return Failure(killed, EXIT_RETRY, "was killed; run the same command again to go on")
    return Failure("", EXIT_BUG, f"the pipeline ended early without a record of the reason; see {run.log}")


def _raise(failure: Failure) -> NoReturn:
    """Turn a step's failure into the error of this process, with the step's exit code."""
    assert failure.exit_code != EXIT_DONE, failure
    if failure.exit_code == EXIT_BUG:
        last = "".join(f"\n  {line}" for line in failure.last_log_lines[-5:])
        failure = replace(failure, message=f"{failure.message}{last}")
    raise failure.as_error(f"step {failure.name}: " if failure.name else "")
