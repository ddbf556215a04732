"""What a worker does besides training: end with its parent, and say why it failed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from phenoscale.errors import UserError
from phenoscale.training.outcome import note_failure
from phenoscale.training.worker import main

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
    note_failure(tmp_path, UserError("the batch does not divide"))
    job = tmp_path / "job.json"
    job.write_text(json.dumps({"folder": str(tmp_path)}))  # without a config it cannot train
    assert main(job) == 2
