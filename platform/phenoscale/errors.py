"""The three ways a run can fail, and the exit codes that Kubernetes and the command line act on."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import ClassVar, Final

EXIT_DONE: Final = 0
EXIT_USER: Final = 2
EXIT_BUG: Final = 70
EXIT_RETRY: Final = 75
EXIT_INTERRUPTED: Final = 130

_DISK_FULL_ERRNOS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# tensorstore, SQLite and torch report a full disk as their own error types, with the reason in words only.
_DISK_FULL_WORDS: Final = (
    "no space left on device",
    "disk quota exceeded",
    "file too large",
    "database or disk is full",
)


class PhenoscaleError(Exception):
    """An expected failure: its message is for a person, its exit code for a machine."""

    exit_code: ClassVar[int] = EXIT_BUG


class UserError(PhenoscaleError):
    """The user's input or config is wrong: the message names the value, the rule and the way out."""

    exit_code: ClassVar[int] = EXIT_USER


class RetryError(PhenoscaleError):
    """The same command may succeed later: preempted, store away, disk full, lost worker."""

    exit_code: ClassVar[int] = EXIT_RETRY


class StoppedError(RetryError):
    """This process was asked to end, or lost those it works with; nothing was wrong with its own work."""


class Terminated(BaseException):
    """The process was told to end (SIGTERM): not an Exception, so that nothing on the way out keeps it."""

    exit_code: ClassVar[int] = EXIT_RETRY


def exit_code_of(error: BaseException) -> int:
    """Return the exit code that an error means, looking through its causes for a full disk."""
    if isinstance(error, PhenoscaleError | Terminated):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    return EXIT_RETRY if is_disk_full(error) else EXIT_BUG


def error_of(exit_code: int, *, message: str) -> PhenoscaleError:
    """Return an error of another process as one of this process's, which then ends with the same exit code.

    What was interrupted there may work later: that is a RetryError here.
    """
    kinds = {EXIT_USER: UserError, EXIT_RETRY: RetryError, EXIT_INTERRUPTED: RetryError}
    return kinds.get(exit_code, PhenoscaleError)(message)


def is_disk_full(error: BaseException) -> bool:
    """Say whether an error, or one that it came from, means that a disk, quota or file limit is full."""
    return any(_says_disk_full(link) for link in _chain(error))


def _says_disk_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _DISK_FULL_ERRNOS:
        return True
    if isinstance(error, PhenoscaleError) or not isinstance(error, Exception):
        return False
    text = str(error).lower()
    return any(words in text for words in _DISK_FULL_WORDS)


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
