"""What a worker does besides training: end with its parent, and say why it failed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from phenoscale.errors import UserError
from phenoscale.operations.launchers.processes import FAILURE
from phenoscale.operations.launchers.worker import main
from phenoscale.stages.failure import failure_of, write_failure
from phenoscale.storage import LocalStorage

CHILD = """
import sys, time
from phenoscale.distributed import end_with_parent
end_with_parent()
print("ready", flush=True)
time.sleep(60)
"""
PARENT = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdout=subprocess.PIPE, text=True)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.ranks
def test_worker_ends_when_its_parent_is_killed():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        assert is_running(worker)
        os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(worker)


def test_restarted_worker_repeats_an_end_that_no_restart_mends(tmp_path):
    failure = failure_of(UserError("the batch does not divide"), name="rank 1")
    write_failure(failure, storage=LocalStorage(tmp_path), key=FAILURE)
    assert main(tmp_path) == 2  # there is no job: it did not look for one
