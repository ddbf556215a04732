"""What every Kubeflow component calls: run one step, hand its output on by place and digest, leave a record.

The artifacts are Kubeflow's, known here by what they offer and not by their class, so that the library does
not import kfp. An artifact's file is a small pointer; the data stay in the workspace. The artifact of a step
that is no part of the run stays empty.
"""

from __future__ import annotations

import json
import shutil
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from phenoscale.config.digests import plain
from phenoscale.errors import PhenoscaleError, UserError, exit_code_of
from phenoscale.logs import configure_logging, keep_last_lines
from phenoscale.operations.pipelines.config import PipelineConfig
from phenoscale.operations.pipelines.resolve import freeze, keep_config, read_config, resolve_parameters
from phenoscale.operations.pipelines.table import find_pipeline
from phenoscale.operations.pipelines.value import Step
from phenoscale.operations.running.processes import process_of_step
from phenoscale.operations.running.records import RunRecords, open_records
from phenoscale.operations.running.steps import run_step
from phenoscale.operations.stage_table import artifact_of, find_stage
from phenoscale.stages import StageResult, fetch_output, output_digest
from phenoscale.storage.mirror import local_path
from phenoscale.tracking.lineage_tags import numeric_leaves

EVENT_PREFIX: Final = "phenoscale-step "
RESOLVE: Final = "resolve"
METRICS, PAGE = "metrics", "page"


class Artifact(Protocol):
    """The part of a Kubeflow artifact that is used here."""

    path: str
    metadata: dict[str, Any]


def run_resolve(pipeline: str, *, run: str, values: Mapping[str, Any]) -> tuple[str, str]:
    """Be the body of the first task.

    Args:
        pipeline: the pipeline's name.
        run: Kubeflow's id of the run.
        values: the fields of Kubeflow's page; `run` names the records in place of Kubeflow's id.

    Returns:
        Address of the config that all steps take, and name of the run's records.
    """
    configure_logging()
    with _explained(RESOLVE):
        config = freeze(resolve_parameters(find_pipeline(pipeline), values))
        return keep_config(config), str(values.get("run") or run)


def run_component(
    step: str, *, pipeline: str, config: str, run: str, artifacts: Mapping[str, Artifact]
) -> None:
    """Run a step as the body of a component; on failure leave its record and exit with its code.

    Args:
        step: the step's name.
        pipeline: the name of the pipeline that it is a step of.
        config: address of the pipeline's config.
        run: name of the run's records in the workspace.
        artifacts: by name, those of the earlier steps that this one reads, that of its own output, and for
            Kubeflow's pages `metrics`, which gets the summary's numbers, or `page`, which gets the report.
    """
    configure_logging()
    with _explained(step):
        read = read_config(find_pipeline(pipeline), config)
        records = open_records(read.runtime.workspace, run=run)
        found = read.pipeline.find_step(step)
        if not found.is_needed(read):
            return
        _run_recorded(found, config=read, records=records, artifacts=artifacts)
        _say(step, event="finished")


def _run_recorded(
    step: Step, *, config: PipelineConfig, records: RunRecords, artifacts: Mapping[str, Artifact]
) -> None:
    facts = records.read_facts()
    if facts is not None and facts.parent_run_id:
        config = config.with_runtime(parent_run_id=facts.parent_run_id)
    with recorded_step(step, records=records):
        places = {
            name: _read_place(artifacts[artifact_of(config.pipeline.find_step(name))]) for name in step.needs
        }
        inputs = {name: place for name, place in places.items() if place}
        result = run_step(step, config=config, inputs=inputs, known=records.read_known(step.name))
        _write_place(artifacts[artifact_of(step)], result)
        _show(artifacts, result)
        records.write_result(step.name, result=result)


@contextmanager
def recorded_step(step: Step, *, records: RunRecords) -> Iterator[None]:
    """Be the process of a step, and leave the reason where it fails."""
    with process_of_step(records.folder, step.name), keep_last_lines() as lines:
        try:
            records.clear_failure(step.name)
            yield
        except BaseException as error:
            records.write_failure(step.name, error=error, lines=lines)
            raise


@contextmanager
def _explained(step: str) -> Iterator[None]:
    """End the process with the error's code; what nobody expected shows its traceback in the log first."""
    try:
        yield
    except BaseException as error:
        _say(step, event="failed", exit_code=exit_code_of(error), message=str(error))
        if not isinstance(error, PhenoscaleError):
            traceback.print_exception(error)
        sys.exit(exit_code_of(error))


def _say(step: str, **event: Any) -> None:
    """Say to the process that follows this pipeline's output what happened."""
    sys.stdout.write(f"{EVENT_PREFIX}{json.dumps({'step': step, **event})}\n")
    sys.stdout.flush()


def _read_place(artifact: Artifact) -> str:
    """Where an input lies; empty for the artifact of a step that is no part of the run."""
    place, digest = str(artifact.metadata.get("uri", "")), str(artifact.metadata.get("digest", ""))
    if not place:
        return ""
    if output_digest(local_path(place)) != digest:
        raise UserError(f"{place} has changed since its step ended; run the pipeline again to build it anew")
    return place


def _write_place(artifact: Artifact, result: StageResult) -> None:
    pointer = {"uri": result.place, "digest": result.digest, "stage": result.stage, "key": result.key}
    artifact.metadata.update(pointer)
    Path(artifact.path).write_text(json.dumps(pointer, indent=1))


def _show(artifacts: Mapping[str, Artifact], result: StageResult) -> None:
    shows = find_stage(result.stage).shows
    if shows == METRICS:
        artifacts[METRICS].metadata.update(numeric_leaves(plain(result.summary)))
    elif shows == PAGE:
        shutil.copyfile(fetch_output(result.path / "report.html"), artifacts[PAGE].path)
