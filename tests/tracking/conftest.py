"""A run store on SQLite: a migrated database is copied for each test, as migrating takes seconds."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from phenoscale.config import Runtime


@pytest.fixture(autouse=True)
def _no_injected_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)


@dataclass(frozen=True)
class FirstUse:
    """What the very first tracked stage of a workspace left: its database and its console."""

    database: Path
    console: str


@pytest.fixture(scope="session")
def first_use(tmp_path_factory: pytest.TempPathFactory) -> FirstUse:
    workspace = tmp_path_factory.mktemp("first")
    program = (
        "from phenoscale.config import Runtime\n"
        "from phenoscale.tracking.tracker import open_tracker\n"
        f"with open_tracker(Runtime(workspace={str(workspace)!r}), stage='quiet') as tracker:\n"
        "    tracker.log_metrics(0, {'loss': 1.0})\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return FirstUse(database=workspace / "mlflow.db", console=result.stdout + result.stderr)


@pytest.fixture
def tracked(tmp_path: Path, first_use: FirstUse) -> Runtime:
    # An experiment of its own: the copied one keeps its artifacts in the first workspace.
    shutil.copy(first_use.database, tmp_path / "mlflow.db")
    return Runtime(workspace=str(tmp_path), experiment_name="under test")
