"""Rank and world size from the environment, and children that end with their parent."""

import subprocess
import sys

import pytest

from phenoscale.distributed import local_rank, rank, world_size
from phenoscale.errors import UserError

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


def test_outside_of_a_job_a_process_is_the_only_one(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert (rank(), world_size(), local_rank()) == (0, 1, 0)


def test_in_a_job_the_numbers_are_torchruns(monkeypatch):
    for name, value in zip(VARIABLES, ("5", "8", "1"), strict=True):
        monkeypatch.setenv(name, value)
    assert (rank(), world_size(), local_rank()) == (5, 8, 1)


def test_a_rank_that_is_no_number_is_refused_with_its_variable(monkeypatch):
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(UserError, match=r"RANK='first' is not a whole number.*torchrun"):
        rank()


POOL = """
import os, sys, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from phenoscale.distributed import end_with_parent

if __name__ == "__main__":
    pool = ProcessPoolExecutor(2, get_context("spawn"), initializer=end_with_parent)
    pids = [pool.submit(os.getpid).result() for _ in range(2)]
    print(*pids, flush=True)
    pool.submit(time.sleep, 60)
    time.sleep(60)
"""


def test_workers_of_a_pool_end_when_the_process_that_made_it_is_killed(tmp_path):
    """They hold its standard output too: left alone, whoever reads that would wait for them."""
    script = tmp_path / "pool.py"
    script.write_text(POOL)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as process:
        first = process.stdout.readline()
        process.kill()
        assert process.stdout.read() == "", "reading ends when the last worker has ended"
    assert all(int(pid) > 0 for pid in first.split())
