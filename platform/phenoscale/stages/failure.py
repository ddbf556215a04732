"""The failure record of a stage: `<key>.failure.json` beside its output; launchers hand no exit codes on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from phenoscale.errors import exit_code_of
from phenoscale.files import write_atomic
from phenoscale.logs import get_logger
from phenoscale.stages.commit import read_record

_NUM_LOG_LINES: Final = 20

logger = get_logger(__name__)


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why a stage ended without an output."""

    stage: str
    key: str
    exit_code: int
    error: str
    message: str
    last_log_lines: tuple[str, ...]


def failure_path(folder: Path) -> Path:
    """Return where the failure record of an output folder lies."""
    return folder.with_name(folder.name + ".failure.json")


def record_failure(folder: Path, error: BaseException, *, stage: str, key: str, lines: Sequence[str]) -> None:
    """Write the failure record; where even that has no room, the log says so and the first error stands."""
    failure = Failure(
        stage=stage,
        key=key,
        exit_code=exit_code_of(error),
        error=type(error).__name__,
        message=str(error),
        last_log_lines=tuple(lines)[-_NUM_LOG_LINES:],
    )
    try:
        write_atomic(failure_path(folder), json.dumps(dataclasses.asdict(failure), indent=1).encode())
    except Exception as second:
        logger.warning("the failure record of stage %s could not be written: %s", stage, second)


def read_failure(folder: Path) -> Failure | None:
    """Return why the stage of an output folder failed last, None when it did not."""
    data: dict[str, Any] = read_record(failure_path(folder))
    names = {field.name for field in dataclasses.fields(Failure)}
    if set(data) != names:
        return None
    return Failure(**{**data, "last_log_lines": tuple(data["last_log_lines"])})


def clear_failure(folder: Path) -> None:
    """Remove the failure record, because the stage has succeeded since."""
    failure_path(folder).unlink(missing_ok=True)
