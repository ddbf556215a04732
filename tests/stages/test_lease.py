"""One live runner at a time, and none that is dead."""

import json
import os
import signal

import pytest

from phenoscale.errors import EXIT_USER, UserError
from phenoscale.stages.lease import hold_lease, lock_path, read_holder


def test_the_holder_of_a_lease_is_on_record(tmp_path):
    with hold_lease(tmp_path / "embed" / "k.lock", stage="embed"):
        assert read_holder(tmp_path / "embed" / "k.lock")["pid"] == os.getpid()


def test_a_held_lease_is_refused_with_the_holders_process(tmp_path):
    lock = tmp_path / "k.lock"
    with (
        hold_lease(lock, stage="embed"),
        pytest.raises(UserError, match=f"stage embed is being run by process {os.getpid()} on .*wait"),
        hold_lease(lock, stage="embed"),
    ):
        pass


def test_a_lease_that_ended_can_be_taken_again(tmp_path):
    for _ in range(2):
        with hold_lease(tmp_path / "k.lock", stage="embed"):
            pass
    with pytest.raises(ZeroDivisionError), hold_lease(tmp_path / "k.lock", stage="embed"):
        raise ZeroDivisionError
    with hold_lease(tmp_path / "k.lock", stage="embed"):
        pass


def test_a_live_second_runner_is_refused_and_the_first_one_goes_on(start_slow_stage):
    with start_slow_stage("sys.stdin.readline() if number == 1 else None") as first:
        while first.stdout.readline() != "wrote 0\n":
            pass
        with start_slow_stage() as second:
            said, _ = second.communicate()
        assert second.returncode == EXIT_USER
        assert f"is being run by process {first.pid}" in said
        said, _ = first.communicate("\n")
    assert first.returncode == 0 and "digest" in said


def test_a_dead_holders_lease_is_free(start_slow_stage):
    with start_slow_stage("sys.stdin.readline() if number == 1 else None") as first:
        while first.stdout.readline() != "wrote 0\n":
            pass
        first.send_signal(signal.SIGKILL)
    with start_slow_stage() as second:
        said, _ = second.communicate()
    assert second.returncode == 0 and said.startswith("found 1\n")


def test_a_workspace_that_cannot_be_written_is_an_error_of_the_user(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match=r"cannot be written .*--runtime\.workspace"),
        hold_lease(tmp_path / "file" / "k.lock", stage="embed"),
    ):
        pass


def test_a_lease_file_of_other_content_has_no_holder(tmp_path):
    for text in ("", "[3]", "words"):
        (tmp_path / "k.lock").write_text(text)
        assert read_holder(tmp_path / "k.lock") == {}
    (tmp_path / "k.lock").write_text(json.dumps({"pid": 3}))
    assert read_holder(tmp_path / "k.lock") == {"pid": 3}


def test_the_lease_lies_beside_the_output(tmp_path):
    assert lock_path(tmp_path / "embed" / "abc") == tmp_path / "embed" / "abc.lock"
