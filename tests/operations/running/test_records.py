"""Records of a run: failures keep their exit code, a killed step is noticed, steps stop with their host."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from phenoscale.errors import EXIT_BUG, EXIT_RETRY, EXIT_USER, UserError
from phenoscale.operations.running.records import (
    find_failure,
    host_of_run,
    process_of_step,
    read_result,
    record_failure,
    running_processes,
    wait_for_orphans,
    write_result,
)
from phenoscale.stages import StageResult

STEP = """
import pathlib, sys, time
from phenoscale.operations.running.records import process_of_step
with process_of_step(pathlib.Path(sys.argv[1]), "pretrain"):
    pathlib.Path(sys.argv[1], "up").write_text("up")
    time.sleep(60)
"""
HOST = """
import pathlib, subprocess, sys, time
from phenoscale.operations.running.records import host_of_run
with host_of_run(pathlib.Path(sys.argv[1])):
    subprocess.Popen([sys.executable, "-c", sys.argv[2], sys.argv[1]])
    time.sleep(60)
"""


def _result(path: Path) -> StageResult:
    return StageResult("map", "k" * 64, path, "d" * 64, False, 1.5, {"num_wells": 3})


def test_a_result_comes_back_as_it_was_written(tmp_path):
    write_result(tmp_path, "map_trained", result=_result(tmp_path / "out"))
    assert read_result(tmp_path, "map_trained") == _result(tmp_path / "out")
    assert read_result(tmp_path, "map_untrained") is None


@pytest.mark.parametrize(
    ("error", "code"),
    [(UserError("no controls"), EXIT_USER), (OSError(28, "full"), EXIT_RETRY), (KeyError("x"), EXIT_BUG)],
)
def test_a_failure_comes_back_with_the_exit_code_of_its_error(tmp_path, error, code):
    record_failure(tmp_path, "map_trained", error=error, lines=["one", "two"])
    failure = find_failure(tmp_path)
    assert (failure.name, failure.exit_code, failure.last_log_lines) == ("map_trained", code, ("one", "two"))
    assert str(error) in failure.message


def test_a_step_that_ended_leaves_no_process_behind(tmp_path):
    with process_of_step(tmp_path, "embed_trained"):
        assert running_processes(tmp_path) == [os.getpid()]
    assert running_processes(tmp_path) == []
    assert find_failure(tmp_path) is None


def _wait_for(path):
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)


def test_a_killed_step_is_told_apart_from_a_failed_one_and_may_be_repeated(tmp_path):
    step = subprocess.Popen([sys.executable, "-c", STEP, str(tmp_path)])
    _wait_for(tmp_path / "up")
    assert running_processes(tmp_path) == [step.pid]
    step.kill()
    step.wait()
    assert running_processes(tmp_path) == []
    failure = find_failure(tmp_path)
    assert (failure.name, failure.exit_code) == ("pretrain", EXIT_RETRY)


def test_a_step_stops_when_its_host_is_killed_and_the_next_run_waits_for_it(tmp_path):
    run_folder = tmp_path / "runs" / "first"
    run_folder.mkdir(parents=True)
    host = subprocess.Popen([sys.executable, "-c", HOST, str(run_folder), STEP])
    _wait_for(run_folder / "up")
    assert wait_for_orphans(tmp_path / "runs") == [], "a step whose host lives is no orphan"
    (pid,) = running_processes(run_folder)
    host.send_signal(signal.SIGKILL)
    host.wait()
    wait_for_orphans(tmp_path / "runs")
    assert running_processes(run_folder) == []
    with pytest.raises(ProcessLookupError):
        _reap_and_signal(pid)


def _reap_and_signal(pid):
    """The step is nobody's child now; give whoever adopted it a moment to bury it."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        os.kill(pid, 0)
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            raise ProcessLookupError
        time.sleep(0.05)


def test_a_step_that_finished_is_not_stopped_when_its_host_ends(tmp_path):
    with host_of_run(tmp_path), process_of_step(tmp_path, "curate"):
        pass
    time.sleep(0.3)  # the watching thread would have stopped this process by now
    assert read_result(tmp_path, "curate") is None
