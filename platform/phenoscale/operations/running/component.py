"""What every Kubeflow component calls: run one step, hand its output on by place and digest, leave a record.

The artifacts are Kubeflow's, known here by what they offer and not by their class, so that the library does
not import kfp. An artifact's file is a small pointer; the data stay in the workspace.
"""

from __future__ import annotations

import json
import shutil
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn, Protocol

from phenoscale.config.digests import plain
from phenoscale.errors import PhenoscaleError, UserError, exit_code_of
from phenoscale.logs import configure_logging, keep_last_lines
from phenoscale.operations.running.records import process_of_step, read_known, record_failure, write_result
from phenoscale.operations.running.steps import run_step
from phenoscale.stages import StageResult, output_digest

EVENT_PREFIX: Final = "phenoscale-step "


class Artifact(Protocol):
    """The part of a Kubeflow artifact that is used here."""

    path: str
    metadata: dict[str, Any]


def run_component(
    step: str,
    *,
    pipeline: str,
    config: str,
    run_folder: str,
    inputs: Mapping[str, Artifact | None],
    output: Artifact,
    shown: Mapping[str, Artifact] | None = None,
) -> None:
    """Run a step as the body of a component; on failure leave its record and exit with its code.

    Args:
        step: the step's name.
        pipeline: the name of the pipeline that it is a step of.
        config: the pipeline's config as JSON.
        run_folder: folder of this pipeline run's records.
        inputs: artifact of each earlier step that this one reads; None where the pipeline has no such step.
        output: gets the place and digest of the stage's output.
        shown: artifacts for Kubeflow's pages: `metrics` gets the summary's numbers, `page` the report.
    """
    configure_logging()
    folder = Path(run_folder)
    with process_of_step(folder, step), keep_last_lines() as lines:
        try:
            places = {
                name: _read_place(artifact) for name, artifact in inputs.items() if artifact is not None
            }
            known = read_known(folder, step)
            result = run_step(step, pipeline=pipeline, config=config, inputs=places, known=known)
            _write_place(output, result)
            _show(shown or {}, result)
        except BaseException as error:
            _tell(step, event="failed", exit_code=exit_code_of(error), message=str(error))
            record_failure(folder, step, error=error, lines=lines)
            _leave(error)
        write_result(folder, step, result=result)
        _tell(step, event="finished")


def _tell(step: str, **event: Any) -> None:
    """Tell the process that follows this pipeline's output what happened."""
    sys.stdout.write(f"{EVENT_PREFIX}{json.dumps({'step': step, **event})}\n")
    sys.stdout.flush()


def _leave(error: BaseException) -> NoReturn:
    """Exit with the error's code; what nobody expected shows its traceback in the log first."""
    if not isinstance(error, PhenoscaleError):
        traceback.print_exception(error)
    sys.exit(exit_code_of(error))


def _read_place(artifact: Artifact) -> str:
    place, digest = str(artifact.metadata["uri"]), str(artifact.metadata["digest"])
    if output_digest(Path(place)) != digest:
        raise UserError(f"{place} has changed since its step ended; run the pipeline again to build it anew")
    return place


def _write_place(artifact: Artifact, result: StageResult) -> None:
    pointer = {"uri": str(result.path), "digest": result.digest, "stage": result.stage, "key": result.key}
    artifact.metadata.update(pointer)
    Path(artifact.path).write_text(json.dumps(pointer, indent=1))


def _show(shown: Mapping[str, Artifact], result: StageResult) -> None:
    if "metrics" in shown:
        shown["metrics"].metadata.update(numeric_leaves(plain(result.summary)))
    if "page" in shown:
        shutil.copyfile(result.path / "report.html", shown["page"].path)


def numeric_leaves(values: Mapping[str, Any], *, prefix: str = "") -> dict[str, float]:
    """The numbers of a nested mapping, by dotted name."""
    leaves: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            leaves |= numeric_leaves(value, prefix=f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            leaves[f"{prefix}{name}"] = float(value)
    return leaves
