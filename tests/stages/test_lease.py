"""One live runner at a time, on one machine or many, and none that is dead."""

import json
import os
import platform
import signal
import subprocess
import sys

import pytest

from phenoscale.errors import EXIT_RETRY, RetryError, UserError
from phenoscale.stages.lease import LeaseTimes, hold_lease, is_live
from phenoscale.storage import LocalStorage, open_storage

EAGER = LeaseTimes(heartbeat_seconds=0.01)
NAME = "embed/k"
OTHER_MACHINE = {"pid": 7, "host": "node-3", "machine": "node-3/boot/pids", "process": "12"}


@pytest.fixture(params=["local folder", "s3"])
def storage(request, tmp_path):
    if request.param == "local folder":
        return open_storage(str(tmp_path / "workspace"))
    return open_storage(request.getfixturevalue("s3_uri"))


class Later:
    """A store whose clock is ahead: everything in it is older by some seconds."""

    def __init__(self, storage, *, seconds):
        self._storage, self._seconds = storage, seconds

    def __getattr__(self, name):
        return getattr(self._storage, name)

    def age_seconds(self, key):
        age = self._storage.age_seconds(key)
        return None if age is None else age + self._seconds


def _take(storage):
    with hold_lease(storage, NAME, stage="embed") as lease:
        return lease.token


def _leave_token(storage, holder, *, token=1):
    storage.write_bytes(f"{NAME}.lease/{token:08d}", json.dumps(holder).encode())


def test_a_held_lease_is_refused_with_75_and_the_holders_process(storage):
    said = f"stage embed is being run by process {os.getpid()} on {platform.node()} .*wait"
    with hold_lease(storage, NAME, stage="embed"):
        assert is_live(storage, NAME)
        with pytest.raises(RetryError, match=said):
            _take(storage)
    assert not is_live(storage, NAME)


def test_a_lease_that_ended_can_be_taken_again_under_a_higher_number(storage):
    tokens = [_take(storage) for _ in range(2)]
    with pytest.raises(ZeroDivisionError), hold_lease(storage, NAME, stage="embed"):
        raise ZeroDivisionError
    tokens.append(_take(storage))
    assert tokens == [1, 2, 4]
    assert [info.key for info in storage.list(f"{NAME}.lease/")] == [f"{NAME}.lease/00000004"]


def test_a_holder_that_shows_signs_of_life_is_not_taken_over_whatever_the_clocks_say(storage):
    _leave_token(storage, OTHER_MACHINE)
    with pytest.raises(RetryError, match="being run by process 7 on node-3"):
        _take(storage)
    # a clock of the store that is minutes off changes nothing: it tells both times
    with pytest.raises(RetryError, match="node-3"):
        _take(Later(storage, seconds=50))


def test_a_holder_of_another_machine_that_fell_silent_is_taken_over(storage):
    _leave_token(storage, OTHER_MACHINE, token=3)
    with hold_lease(Later(storage, seconds=61), NAME, stage="embed") as lease:
        assert (lease.token, lease.is_predecessor_over) == (4, False)


def test_the_dead_process_of_this_machine_is_taken_over_at_once(storage):
    program = (
        "import sys; from phenoscale.stages.lease import _myself; import json; print(json.dumps(_myself()))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    _leave_token(storage, json.loads(said.stdout))
    with hold_lease(storage, NAME, stage="embed") as lease:
        assert (lease.token, lease.is_predecessor_over) == (2, True)


def test_a_process_of_equal_number_in_another_container_is_not_taken_for_dead(storage):
    _leave_token(storage, {**OTHER_MACHINE, "pid": 2**22 + 1, "host": platform.node()})
    with pytest.raises(RetryError):
        _take(storage)


def test_a_holder_that_was_taken_over_is_fenced_off_and_leaves_the_new_one_alone(storage):
    late = Later(storage, seconds=100)
    with hold_lease(storage, NAME, stage="embed") as old, hold_lease(late, NAME, stage="embed") as new:
        with pytest.raises(RetryError, match="another runner has taken over"):
            old.check()
        old.release()
        new.check()
    assert _take(storage) == 3


def test_a_heartbeat_makes_the_lease_young_again(tmp_path):
    storage = LocalStorage(tmp_path)
    key = f"{NAME}.lease/00000001"
    with hold_lease(storage, NAME, stage="embed", times=EAGER):
        os.utime(tmp_path / key, (1, 1))
        while storage.age_seconds(key) > 60:
            pass
        with pytest.raises(RetryError):
            _take(storage)


def test_of_two_that_find_the_same_dead_holder_one_gets_the_lease(storage):
    _leave_token(storage, OTHER_MACHINE)
    late = Later(storage, seconds=61)
    with hold_lease(late, NAME, stage="embed") as lease:
        assert lease.token == 2
        with pytest.raises(RetryError):
            _take(storage)


def test_a_live_second_runner_is_refused_and_the_first_one_goes_on(start_slow_stage):
    with start_slow_stage("sys.stdin.readline() if number == 1 else None") as first:
        while first.stdout.readline() != "wrote 0\n":
            pass
        with start_slow_stage() as second:
            said, _ = second.communicate()
        assert second.returncode == EXIT_RETRY
        assert f"is being run by process {first.pid}" in said
        said, _ = first.communicate("\n")
    assert first.returncode == 0 and "digest" in said


def test_a_dead_holders_work_is_taken_up(start_slow_stage):
    with start_slow_stage("sys.stdin.readline() if number == 1 else None") as first:
        while first.stdout.readline() != "wrote 0\n":
            pass
        first.send_signal(signal.SIGKILL)
    with start_slow_stage() as second:
        said, _ = second.communicate()
    assert second.returncode == 0 and said.startswith("found 1\n")


def test_a_stopped_runner_that_goes_on_after_it_was_taken_over_commits_nothing(start_slow_stage, workspace):
    with start_slow_stage("sys.stdin.readline() if number == 1 else None") as old:
        while old.stdout.readline() != "wrote 0\n":
            pass
        old.send_signal(signal.SIGSTOP)
        (token,) = workspace.glob("slow/*.lease/*")
        os.utime(token, (1, 1))
        with start_slow_stage() as new:
            said, _ = new.communicate()
        # it was silent, but may still write: nothing of its folder is used
        assert new.returncode == 0 and said.startswith("found 0\n")
        (success,) = workspace.glob("slow/*/_SUCCESS.json")
        before = success.stat()
        old.send_signal(signal.SIGCONT)
        said, _ = old.communicate("\n")
    assert old.returncode != 0
    assert success.stat() == before
    assert not list(workspace.glob("slow/*.attempt-*/part1.txt"))


def test_a_workspace_that_cannot_be_written_is_an_error_of_the_user(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written.*--runtime\.workspace"):
        _take(LocalStorage(tmp_path / "file"))


def test_a_token_of_other_content_has_an_unknown_holder(storage):
    storage.write_bytes(f"{NAME}.lease/00000001", b"words")
    with pytest.raises(RetryError, match="process unknown on an unknown host"):
        _take(storage)
