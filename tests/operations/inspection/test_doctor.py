"""The doctor's checks, each on a machine that has, or really lacks, what it looks for."""

import json
import os
import socket
import subprocess
import sys

import pytest

from phenoscale.config import Runtime
from phenoscale.operations.inspection.config import DoctorConfig
from phenoscale.operations.inspection.doctor import CHECKS, run_doctor
from tests.support.s3 import BUCKET, CREDENTIALS, s3_server


def _diagnose(workspace, store="", **settings):
    runtime = {"workspace": str(workspace), **settings.pop("runtime", {})}
    diagnosis = run_doctor(DoctorConfig(store=store, runtime=Runtime(**runtime), **settings))
    return diagnosis, {check.name: check for check in diagnosis.checks}


def test_this_machine_is_ready_and_every_check_says_what_it_found(workspace):
    diagnosis, checks = _diagnose(workspace)
    assert len(checks) == len(CHECKS)
    assert diagnosis.is_ready and diagnosis.exit_code == 0
    assert all(check.finding for check in checks.values())
    assert checks["python"].finding == ".".join(map(str, sys.version_info[:3]))
    assert diagnosis.text().endswith("this machine is ready")


def test_every_check_that_is_not_well_has_a_fix(workspace):
    runtime = {"device": "cuda:0", "num_processes": 10_000, "tracking_uri": "http://127.0.0.1:1"}
    diagnosis, _ = _diagnose(workspace, min_free_gb=1e9, min_memory_gb=1e9, runtime=runtime)
    for check in diagnosis.checks:
        assert (check.status == "ok") == (check.fix == ""), check
    assert "fix: " in diagnosis.text()


def test_the_doctor_leaves_no_trace(tmp_path):
    _diagnose(tmp_path / "not" / "yet")
    _diagnose(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_too_little_disk_is_a_failure_with_its_fix(workspace):
    diagnosis, checks = _diagnose(workspace, min_free_gb=1e9)
    assert checks["disk"].status == "failed" and "free space until" in checks["disk"].fix
    assert not diagnosis.is_ready and diagnosis.exit_code == 2


def test_too_little_memory_only_warns(workspace):
    diagnosis, checks = _diagnose(workspace, min_memory_gb=1e9)
    assert checks["memory"].status == "warning"
    assert diagnosis.is_ready


def test_a_workspace_that_cannot_be_written_is_a_failure(tmp_path):
    (tmp_path / "file").write_text("")
    _, checks = _diagnose(tmp_path / "file")
    assert checks["workspace"].status == "failed" and "--runtime.workspace" in checks["workspace"].fix


def test_more_processes_than_processors_are_warned_of(workspace):
    _, checks = _diagnose(workspace, runtime={"num_processes": 10_000})
    assert checks["processors"].status == "warning"
    assert f"at most {len(os.sched_getaffinity(0))}" in checks["processors"].fix


def test_a_tracking_server_that_does_not_answer_is_a_failure(workspace):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{unused.getsockname()[1]}"
    _, checks = _diagnose(workspace, runtime={"tracking_uri": uri})
    assert checks["mlflow"].status == "failed" and uri in checks["mlflow"].finding


@pytest.mark.parametrize(("content", "status"), [(None, "failed"), ([], "failed"), (["a"], "ok")])
def test_a_local_store_is_checked_for_being_there(workspace, *, content, status):
    store = workspace / "store"
    if content is not None:
        store.mkdir()
        for name in content:
            (store / name).write_text("x")
    _, checks = _diagnose(workspace, store=str(store))
    assert checks["store"].status == status


def test_a_remote_store_is_really_asked(workspace, monkeypatch):
    with s3_server() as endpoint:
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint}.items():
            monkeypatch.setenv(name, value)
        from phenoscale.storage import open_storage

        open_storage(f"s3://{BUCKET}/screen").write_bytes("screen.json", b"{}")
        _, checks = _diagnose(workspace, store=f"s3://{BUCKET}/screen")
        assert checks["store"].status == "ok"
        _, checks = _diagnose(workspace, store="s3://no-such-bucket/screen")
        assert checks["store"].status == "failed" and "NoSuchBucket" in checks["store"].finding


_WITHOUT = """
import dataclasses, json, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "tifffile"):
            raise ImportError(f"{name} is not installed on this machine")
sys.meta_path.insert(0, Refuse())
from phenoscale.config import Runtime
from phenoscale.operations.inspection.config import DoctorConfig
from phenoscale.operations.inspection.doctor import run_doctor
diagnosis = run_doctor(DoctorConfig(runtime=Runtime(workspace=sys.argv[1])))
print(json.dumps({check.name: dataclasses.asdict(check) for check in diagnosis.checks}))
"""


def test_a_library_that_is_missing_is_named_with_the_way_to_install_it(workspace):
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT, str(workspace)], capture_output=True, text=True, check=True
    )
    checks = json.loads(done.stdout)
    assert checks["torch"]["status"] == "warning" and "phenoscale[train]" in checks["torch"]["fix"]
    assert checks["gpu"]["status"] == "warning"
    assert checks["libraries"]["status"] == "failed" and "tifffile" in checks["libraries"]["finding"]
