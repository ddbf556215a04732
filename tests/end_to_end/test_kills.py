"""A kill in every step of the pipeline, of its host or of the step itself: the result is the same."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from phenoscale.operations.graph import FULL
from tests.support.pipeline_runs import kill, run_tiny, start_tiny

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(7200)]

SECONDS_TO_WAIT = 600


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A run that nobody disturbed."""
    return run_tiny(tmp_path_factory.mktemp("reference") / "workspace")


def _wait_for_step(workspace, step, *, process):
    """Wait until the process of a step is up in the newest run, and return its id; None if the run ended."""
    deadline = time.monotonic() + SECONDS_TO_WAIT
    while time.monotonic() < deadline:
        runs = sorted(Path(workspace).glob("runs/*"))
        record = runs[-1] / step / "process.json" if runs else None
        if record is not None and record.is_file():
            return json.loads(record.read_text())["pid"]
        if process.poll() is not None:
            return None
        time.sleep(0.02)
    raise AssertionError(f"step {step} did not start")


def test_a_kill_in_every_step_changes_no_output(reference, tmp_path):
    workspace = tmp_path / "workspace"
    times = random.Random(20260)
    killed = []
    for number, step in enumerate(FULL):
        process = start_tiny(workspace)
        pid = _wait_for_step(workspace, step.name, process=process)
        if pid is not None:
            time.sleep(times.uniform(0.0, 2.5))
            if number % 2 and process.poll() is None:
                _kill_step(pid)
            killed.append(step.name)
        kill(process) if number % 2 == 0 else process.wait()
    last = run_tiny(workspace)
    assert last.digests == reference.digests
    assert len(killed) == len(FULL), "some step was never up when it should have been killed"


def _kill_step(pid):
    """Kill the step alone: its host learns of it and ends with the code for another try."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def test_a_killed_step_ends_the_run_with_the_code_for_another_try(tmp_path):
    workspace = tmp_path / "workspace"
    process = start_tiny(workspace)
    pid = _wait_for_step(workspace, "simulate", process=process)
    _kill_step(pid)
    assert process.wait() == 75
