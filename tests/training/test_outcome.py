"""The first rank that fails tells why; the others hand it on with its exit code."""

import torch.distributed

from phenoscale.errors import UserError, exit_code_of
from phenoscale.training.outcome import (
    explain_lost_connection,
    is_lost_connection,
    note_failure,
)


def test_first_rank_that_fails_tells_why_and_what_fails_after_it_does_not(tmp_path):
    note_failure(tmp_path, UserError("the batch does not divide"), rank=1)
    note_failure(tmp_path, RuntimeError("gloo: connection closed"), rank=0)
    error = explain_lost_connection(tmp_path)
    assert (exit_code_of(error), str(error)) == (2, "the batch does not divide")


def test_rank_lost_without_a_word_means_please_retry(tmp_path):
    error = explain_lost_connection(tmp_path)
    assert exit_code_of(error) == 75
    assert "run the same command again" in str(error)


def test_lost_connection_is_told_from_a_bug():
    assert is_lost_connection(torch.distributed.DistNetworkError("reset"))
    assert is_lost_connection(RuntimeError("[/pytorch/third_party/gloo/gloo/transport] Read error"))
    assert not is_lost_connection(RuntimeError("shapes do not fit"))
