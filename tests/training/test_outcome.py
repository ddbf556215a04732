"""The first rank that fails tells why; the others hand it on with its exit code."""

import pytest
import torch.distributed

from phenoscale.errors import RetryError, UserError, exit_code_of
from phenoscale.training.outcome import (
    OUTCOME_FILE,
    error_of,
    explain_lost_connection,
    is_lost_connection,
    read_outcome,
    write_outcome,
)


def test_first_rank_that_fails_tells_why_and_what_fails_after_it_does_not(tmp_path):
    write_outcome(tmp_path / OUTCOME_FILE, UserError("the batch does not divide"))
    write_outcome(tmp_path / OUTCOME_FILE, RuntimeError("gloo: connection closed"))
    outcome = read_outcome(tmp_path / OUTCOME_FILE)
    assert outcome == {"exit_code": 2, "message": "the batch does not divide", "rank": 0}


def test_no_outcome_is_empty(tmp_path):
    assert read_outcome(tmp_path / OUTCOME_FILE) == {}


@pytest.mark.parametrize("error", [UserError("a"), RetryError("b"), ValueError("c"), AssertionError()])
def test_error_of_another_process_ends_this_one_with_the_same_exit_code(tmp_path, error):
    assert exit_code_of(error_of(exit_code_of(error), message="there")) == exit_code_of(error)
    write_outcome(tmp_path / OUTCOME_FILE, error)
    explained = explain_lost_connection(tmp_path / OUTCOME_FILE)
    assert exit_code_of(explained) == exit_code_of(error)
    assert str(explained) == (str(error) or "AssertionError")


def test_rank_lost_without_a_word_means_please_retry(tmp_path):
    error = explain_lost_connection(tmp_path / OUTCOME_FILE)
    assert exit_code_of(error) == 75
    assert "run the same command again" in str(error)


def test_lost_connection_is_told_from_a_bug():
    assert is_lost_connection(torch.distributed.DistNetworkError("reset"))
    assert is_lost_connection(RuntimeError("[/pytorch/third_party/gloo/gloo/transport] Read error"))
    assert not is_lost_connection(RuntimeError("shapes do not fit"))
