"""The failure record itself: one for stages, steps and ranks, in any storage."""

import json

import pytest

from phenoscale.errors import RetryError, UserError, exit_code_of
from phenoscale.stages.failure import failure_of, read_failure, write_failure
from phenoscale.storage import LocalStorage


def test_a_failure_reads_back_as_it_was_recorded(tmp_path):
    lines = [f"line={number}" for number in range(50)]
    failure = failure_of(UserError("the value; the way out"), name="map", lines=lines)
    write_failure(failure, storage=LocalStorage(tmp_path), key="abc.failure.json")
    assert read_failure(LocalStorage(tmp_path), key="abc.failure.json") == failure
    assert failure.last_log_lines == tuple(lines[-20:])
    assert (failure.name, failure.exit_code, failure.error) == ("map", 2, "UserError")
    assert set(json.loads((tmp_path / "abc.failure.json").read_text())) >= {
        "exit_code",
        "message",
        "name",
        "last_log_lines",
    }


@pytest.mark.parametrize("error", [UserError("a"), RetryError("b"), ValueError("c"), AssertionError()])
def test_a_failure_of_another_process_ends_this_one_with_the_same_exit_code(error):
    again = failure_of(error, name="rank 1").as_error("rank 1: ")
    assert exit_code_of(again) == exit_code_of(error)
    assert str(again) == "rank 1: " + (str(error) or "AssertionError")


@pytest.mark.parametrize("content", ["{", "[]", '{"exit_code": 2}', "null"])
def test_no_failure_and_a_broken_record_are_none(tmp_path, content):
    storage = LocalStorage(tmp_path)
    assert read_failure(storage, key="abc") is None
    (tmp_path / "abc").write_text(content)
    assert read_failure(storage, key="abc") is None


def test_a_record_that_cannot_be_written_leaves_the_first_error_alone(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    write_failure(failure_of(ValueError("first"), name="map"), storage=LocalStorage(tmp_path), key="file/abc")
    assert "the failure record of map could not be written" in caplog.text
