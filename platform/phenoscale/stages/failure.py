"""The record of a failure, of a stage, a pipeline's step or a rank: launchers hand no exit codes on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Final

from phenoscale.errors import PhenoscaleError, UserError, error_of, exit_code_of
from phenoscale.logs import get_logger
from phenoscale.storage import Storage

_NUM_LOG_LINES: Final = 20

logger = get_logger(__name__)


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why a piece of work ended without an output.

    Attributes:
        name: what failed: the stage, the step of a pipeline, or the rank.
        exit_code: what the error means to a machine.
        message: what it says to a person.
        error: the error's class, "" when there was none: a process was killed.
        last_log_lines: what was logged before it.
    """

    name: str
    exit_code: int
    message: str
    error: str = ""
    last_log_lines: tuple[str, ...] = ()

    def as_error(self, prefix: str = "") -> PhenoscaleError:
        """The failure as an error of this process, which then ends with the same exit code."""
        return error_of(self.exit_code, message=prefix + self.message)

    def as_bytes(self) -> bytes:
        """The record's content."""
        return json.dumps(dataclasses.asdict(self), indent=1).encode()


def failure_of(error: BaseException, *, name: str, lines: Sequence[str] = ()) -> Failure:
    """The record of an error, with the last of the lines that were logged before it."""
    kind = type(error).__name__
    return Failure(name, exit_code_of(error), str(error) or kind, kind, tuple(lines)[-_NUM_LOG_LINES:])


def write_failure(failure: Failure, *, storage: Storage, key: str) -> None:
    """Write a record; where even that has no room, the log says so and the first error stands."""
    try:
        storage.write_bytes(key, failure.as_bytes())
    except Exception as second:
        logger.warning("the failure record of %s could not be written: %s", failure.name, second)


def read_failure(storage: Storage, *, key: str) -> Failure | None:
    """Return a record, None where there is none or a broken one."""
    try:
        data = json.loads(storage.read_bytes(key))
        return Failure(**{**data, "last_log_lines": tuple(data["last_log_lines"])})
    except (UserError, ValueError, TypeError, KeyError):
        return None
