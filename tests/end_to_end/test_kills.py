"""A kill in every step of the pipeline, of its host or of the step itself: the result is the same."""

import contextlib
import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from phenoscale.operations.pipelines.full import FULL
from tests.support.pipeline_runs import kill, run_tiny, start_tiny

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(7200)]

SECONDS_TO_WAIT = 600


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A run that nobody disturbed."""
    return run_tiny(tmp_path_factory.mktemp("reference") / "workspace")


def _step_that_is_up(workspace, steps):
    """The first of some steps whose process is up in the newest run, with its id; None if none is."""
    runs = sorted(Path(workspace).glob("runs/*"))
    for step in steps if runs else ():
        with contextlib.suppress(FileNotFoundError):
            return step, json.loads((runs[-1] / step / "process.json").read_text())["pid"]
    return None


def _wait_for_step(workspace, steps, *, process, seconds=SECONDS_TO_WAIT):
    """Wait until a process of one of the steps is up, for so long at most, or until the run has ended."""
    deadline = time.monotonic() + seconds
    while (found := _step_that_is_up(workspace, steps)) is None and time.monotonic() < deadline:
        if process.poll() is not None:
            return None
        time.sleep(0.02)
    return found


def test_a_kill_in_every_step_changes_no_output(reference, tmp_path):
    workspace = tmp_path / "workspace"
    times = random.Random(20260)
    waiting = {step.name for step in FULL.steps}
    while waiting:  # a run takes independent steps in any order: whichever comes first is killed
        process = start_tiny(workspace)
        found = _wait_for_step(workspace, waiting, process=process)
        assert found is not None, f"the run is over, but {sorted(waiting)} never began"
        step, pid = found
        waiting.remove(step)
        _wait_for_step(workspace, waiting, process=process, seconds=times.uniform(0.0, 2.5))
        if not (len(waiting) % 2 and _kill_step(pid)):
            kill(process)
        process.wait()
    last = run_tiny(workspace)
    assert last.digests == reference.digests


def _kill_step(pid):
    """Kill the step alone, if it still runs: its host learns of it and ends with the code for another try."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def test_a_killed_step_ends_the_run_with_the_code_for_another_try(tmp_path):
    workspace = tmp_path / "workspace"
    process = start_tiny(workspace)
    _, pid = _wait_for_step(workspace, ["simulate"], process=process)
    assert _kill_step(pid)
    assert process.wait() == 75
