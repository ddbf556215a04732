"""A run store on SQLite: migrated once per process and copied for each test, as migrating takes seconds."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from phenoscale.config import Runtime

INJECTED = ("MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID")
_PROGRAM = """
from phenoscale.config import Runtime
from phenoscale.tracking.tracker import open_tracker
with open_tracker(Runtime(workspace={workspace!r}), stage="quiet") as tracker:
    tracker.log_metrics(0, {{"loss": 1.0}})
"""


@dataclass(frozen=True)
class FirstUse:
    """What the very first tracked stage of a workspace left: its database and its console."""

    database: bytes
    console: str


@functools.cache
def first_use() -> FirstUse:
    """Track one stage in a new workspace, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="phenoscale-tests-") as workspace:
        program = _PROGRAM.format(workspace=workspace)
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        return FirstUse((Path(workspace) / "mlflow.db").read_bytes(), done.stdout + done.stderr)


def tracked_runtime(workspace: Path) -> Runtime:
    """A runtime whose run store is ready in the workspace."""
    workspace.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(workspace / "mlflow-artifacts", ignore_errors=True)
    (workspace / "mlflow.db").write_bytes(first_use().database)
    # An experiment of its own: the copied one keeps its artifacts in the first workspace.
    return Runtime(workspace=str(workspace), experiment_name="under test")
