"""What a pipeline run leaves in its workspace: the run's facts, and each step's output or failure.

<workspace>/runs/<run>/run.json               the config's address, the MLflow run above those of the steps
<workspace>/runs/<run>/<step>/known.json      an output found complete when the run was planned
<workspace>/runs/<run>/<step>/result.json     the output's place, key, digest, seconds, reused or not
<workspace>/runs/<run>/<step>/failure.json    exit code, message and last log lines

The workspace may be a bucket: any machine reads these. Locks, processes and logs are of one machine
(processes.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from phenoscale.operations.running.steps import Known
from phenoscale.stages import StageResult
from phenoscale.stages.failure import Failure, failure_of, read_failure, write_failure
from phenoscale.stages.records import read_json
from phenoscale.stages.workspace import open_workspace
from phenoscale.storage import Storage

RUNS: Final = "runs"
_RUN: Final = "run.json"
_KNOWN: Final = "known.json"
_RESULT: Final = "result.json"
_FAILURE: Final = "failure.json"


@dataclass(frozen=True)
class RunFacts:
    """What holds for all steps of a run."""

    pipeline: str
    config: str
    parent_run_id: str = ""


@dataclass(frozen=True)
class RunRecords:
    """The records of one run.

    Attributes:
        storage: where every machine sees them: `runs/<run>` in the workspace.
        folder: where this machine keeps its locks, processes and log; the same place for a local workspace.
    """

    storage: Storage
    folder: Path

    def write_facts(self, facts: RunFacts) -> None:
        """Leave the facts of the run for its steps."""
        self._write(_RUN, asdict(facts))

    def read_facts(self) -> RunFacts | None:
        """The facts of the run, None for a run that nobody prepared."""
        record = read_json(self.storage, _RUN)
        return RunFacts(**record) if record else None

    def write_result(self, step: str, *, result: StageResult) -> None:
        """Leave a step's result for the process that runs the pipeline."""
        self.storage.write_bytes(f"{step}/{_RESULT}", result.as_json())

    def read_result(self, step: str) -> StageResult | None:
        """A step's result, None while there is none."""
        key = f"{step}/{_RESULT}"
        return StageResult.from_json(self.storage.read_bytes(key)) if self.storage.exists(key) else None

    def write_known(self, step: str, *, known: Known) -> None:
        """Tell a step where its output is, so that it need not find its key again."""
        self._write(f"{step}/{_KNOWN}", asdict(known))

    def read_known(self, step: str) -> Known | None:
        """The output that the run's host has found for a step, None when there is work to do."""
        record = read_json(self.storage, f"{step}/{_KNOWN}")
        return Known(**record) if record else None

    def write_failure(self, step: str, *, error: BaseException, lines: Sequence[str]) -> None:
        """Leave the reason why a step failed."""
        failure = failure_of(error, name=step, lines=lines)
        write_failure(failure, storage=self.storage, key=f"{step}/{_FAILURE}")

    def clear_failure(self, step: str) -> None:
        """Forget the failure of an earlier attempt."""
        self.storage.delete(f"{step}/{_FAILURE}")

    def find_failure(self, steps: Sequence[str]) -> Failure | None:
        """The first failure among these steps."""
        found = (read_failure(self.storage, key=f"{step}/{_FAILURE}") for step in steps)
        return next((failure for failure in found if failure is not None), None)

    def _write(self, key: str, record: dict[str, Any]) -> None:
        self.storage.write_bytes(key, json.dumps(record).encode())


def open_records(workspace: str, *, run: str) -> RunRecords:
    """Open the records of a run in a workspace."""
    opened = open_workspace(workspace)
    name = f"{RUNS}/{run}"
    folder = opened.root / name
    folder.mkdir(parents=True, exist_ok=True)
    return RunRecords(storage=opened.storage.at(name), folder=folder)
