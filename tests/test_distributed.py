"""Rank and world size from the environment."""

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
