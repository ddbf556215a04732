"""Where runs are kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from phenoscale.config import Runtime
from phenoscale.errors import UserError
from phenoscale.tracking.server import artifact_folder, connect, experiment_id, tracking_uri
from tests.support.run_store import first_use


def test_runs_are_kept_in_the_workspace_by_default(tmp_path: Path) -> None:
    assert tracking_uri(Runtime(workspace=str(tmp_path))) == f"sqlite:///{tmp_path}/mlflow.db"


def test_a_configured_address_wins_over_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://injected:5000")
    assert tracking_uri(Runtime(workspace=str(tmp_path))) == "http://injected:5000"
    assert tracking_uri(Runtime(tracking_uri="https://mine")) == "https://mine"


@pytest.mark.parametrize("address", ["somewhere", "htp://host", "ftp://host/x"])
def test_an_address_that_is_none_is_a_user_error(address: str) -> None:
    with pytest.raises(UserError, match=f"tracking_uri '{address}'.*leave it empty"):
        tracking_uri(Runtime(tracking_uri=address))


def test_sqlite_in_a_bucket_is_a_user_error() -> None:
    with pytest.raises(UserError, match="lies in a bucket, where SQLite cannot"):
        tracking_uri(Runtime(tracking_uri="sqlite:///s3://bucket/mlflow.db"))


@pytest.mark.acceptance
def test_processes_that_start_together_make_one_database(tmp_path: Path) -> None:
    program = (
        "from phenoscale.config import Runtime; from phenoscale.tracking.server import connect; "
        f"connect(Runtime(workspace={str(tmp_path)!r}))"
    )
    together = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(3)]
    assert [process.wait() for process in together] == [0, 0, 0]


def test_a_workspace_that_is_a_file_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="give another workspace"):
        connect(Runtime(workspace=str(tmp_path / "file")))


def test_artifacts_lie_beside_the_database(tracked: Runtime) -> None:
    client = connect(tracked)
    experiment = client.get_experiment(experiment_id(client, tracked))
    assert experiment.artifact_location == artifact_folder(tracked).as_uri()
    assert artifact_folder(tracked).parent == Path(tracked.workspace)


def test_the_experiment_is_made_once_and_restored_when_it_was_deleted(tracked: Runtime) -> None:
    client = connect(tracked)
    first = experiment_id(client, tracked)
    client.delete_experiment(first)
    assert experiment_id(client, tracked) == first
    assert client.get_experiment(first).lifecycle_stage == "active"


def test_importing_tracking_does_not_import_mlflow() -> None:
    program = "import sys, phenoscale.tracking.tracker; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_first_use_of_a_workspace_says_nothing_on_the_console() -> None:
    assert first_use().console == ""
