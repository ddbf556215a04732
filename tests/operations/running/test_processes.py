"""Processes of a run: a killed step is noticed, steps stop with their host, a second run is refused."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from phenoscale.errors import RetryError
from phenoscale.operations.running.processes import (
    host_of_run,
    killed_step,
    process_of_step,
    running_processes,
    wait_for_orphans,
)
from phenoscale.storage.mirror import local_path

STEP = """
import pathlib, sys, time
from phenoscale.operations.running.processes import process_of_step
with process_of_step(pathlib.Path(sys.argv[1]), "pretrain"):
    pathlib.Path(sys.argv[1], "up").write_text("up")
    time.sleep(60)
"""
HOST = """
import pathlib, subprocess, sys, time
from phenoscale.operations.running.processes import host_of_run
with host_of_run(pathlib.Path(sys.argv[1])):
    subprocess.Popen([sys.executable, "-c", sys.argv[2], sys.argv[1]])
    time.sleep(60)
"""


def _wait_for(path):
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)


def test_a_step_that_ended_leaves_no_process_behind(tmp_path):
    with host_of_run(tmp_path / "first"), process_of_step(tmp_path / "first", "embed_trained"):
        assert running_processes(tmp_path / "first") == [os.getpid()]
    assert running_processes(tmp_path / "first") == []
    assert killed_step(tmp_path / "first") == ""


def test_a_step_stops_when_its_host_is_killed_and_the_next_run_waits_for_it(tmp_path):
    folder = tmp_path / "first"
    folder.mkdir()
    host = subprocess.Popen([sys.executable, "-c", HOST, str(folder), STEP])
    _wait_for(folder / "up")
    assert wait_for_orphans(tmp_path) == [], "a step whose host lives is no orphan"
    with pytest.raises(RetryError, match="run first is at work"), host_of_run(tmp_path / "second"):
        pass
    (pid,) = running_processes(folder)
    host.send_signal(signal.SIGKILL)
    host.wait()
    wait_for_orphans(tmp_path)
    assert running_processes(folder) == []
    assert killed_step(folder) == "pretrain", "it did not end by itself, and may be repeated"
    assert _is_gone(pid)
    with host_of_run(tmp_path / "second"):
        pass


def test_a_run_in_a_bucket_is_named_by_its_address(tmp_path, monkeypatch):
    monkeypatch.setenv("PHENOSCALE_CACHE", str(tmp_path))
    runs = local_path("s3://bucket/screens/runs")
    (runs / "first").mkdir(parents=True)
    (runs / "second").mkdir()
    with (
        host_of_run(runs / "first"),
        pytest.raises(RetryError, match="at work in s3://bucket/screens; wait"),
        host_of_run(runs / "second"),
    ):
        pass


def _is_gone(pid):
    """The step is nobody's child now; give whoever adopted it a moment to bury it."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False
