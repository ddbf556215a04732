"""Exit codes: what each kind of failure tells a machine."""

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenoscale.errors import (
    EXIT_BUG,
    EXIT_INTERRUPTED,
    EXIT_RETRY,
    EXIT_USER,
    RetryError,
    Terminated,
    UserError,
    error_of,
    exit_code_of,
    is_disk_full,
)

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("16 controls for 384 dimensions"), EXIT_USER),
        (RetryError("store away"), EXIT_RETRY),
        (Terminated("stopped"), EXIT_RETRY),
        (KeyboardInterrupt(), EXIT_INTERRUPTED),
        (ValueError("a bug"), EXIT_BUG),
        (FileNotFoundError(errno.ENOENT, "no such file"), EXIT_BUG),
    ],
)
def test_each_kind_of_failure_has_its_exit_code(error, code):
    assert exit_code_of(error) == code


@given(code=st.sampled_from(sorted(errno.errorcode)))
def test_of_all_system_errors_only_a_full_disk_asks_for_a_retry(code):
    assert exit_code_of(OSError(code, os.strerror(code))) == (EXIT_RETRY if code in FULL else EXIT_BUG)


def test_a_full_disk_is_found_behind_the_error_that_it_caused():
    with pytest.raises(RuntimeError) as caught:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("could not save") from error
    assert is_disk_full(caught.value)
    assert exit_code_of(caught.value) == EXIT_RETRY


@pytest.mark.parametrize(
    "words",
    ["RESOURCE_EXHAUSTED: write failed [OS error 28: No space left on device]", "database or disk is full"],
)
def test_a_full_disk_is_recognized_by_the_words_of_libraries_without_error_numbers(words):
    assert exit_code_of(ValueError(words)) == EXIT_RETRY


def test_an_error_that_was_handled_on_purpose_does_not_count_as_a_cause():
    with pytest.raises(RuntimeError) as caught:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            raise RuntimeError("something else") from None
    assert not is_disk_full(caught.value)


def test_a_user_error_that_speaks_of_a_full_disk_stays_a_user_error():
    assert exit_code_of(UserError("the rule is: no space left on device may be ...")) == EXIT_USER


@pytest.mark.parametrize("code", [EXIT_USER, EXIT_BUG, EXIT_RETRY])
def test_an_exit_code_of_another_process_becomes_an_error_with_that_code(code):
    assert exit_code_of(error_of(code, message="there")) == code


def test_what_was_interrupted_in_another_process_may_be_repeated():
    assert exit_code_of(error_of(EXIT_INTERRUPTED, message="there")) == EXIT_RETRY
