"""Why a rank failed, written down by the first that fails: all others only see that it is gone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from phenoscale.distributed import rank
from phenoscale.errors import EXIT_RETRY, EXIT_USER, RetryError, UserError, exit_code_of

OUTCOME_FILE = "logs/workers/outcome.json"  # below the folder that is being written


def write_outcome(file: Path, error: BaseException) -> None:
    """Write down an error, unless another rank was first: what fails after it is a consequence."""
    outcome = {
        "exit_code": exit_code_of(error),
        "message": str(error) or type(error).__name__,
        "rank": rank(),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("x", encoding="utf-8") as stream:
            json.dump(outcome, stream)
    except FileExistsError:
        return


def read_outcome(file: Path) -> dict[str, Any]:
    """Why the first rank failed: exit_code, message, rank; empty if none wrote it."""
    try:
        content: dict[str, Any] = json.loads(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return content


def error_of(exit_code: int, *, message: str) -> Exception:
    """An error of another process, as one of this process's that ends with the same exit code."""
    kinds = {EXIT_USER: UserError, EXIT_RETRY: RetryError}
    return kinds.get(exit_code, RuntimeError)(message)


def is_lost_connection(error: BaseException) -> bool:
    """Say whether an error came from the link to another rank; gloo's are plain RuntimeErrors."""
    from torch.distributed import DistError

    return isinstance(error, DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def explain_lost_connection(file: Path) -> Exception:
    """What the rank wrote down that is gone; if it had no time to, that the command has to be repeated."""
    outcome = read_outcome(file)
    if outcome:
        return error_of(int(outcome["exit_code"]), message=str(outcome["message"]))
    return RetryError("another training process was lost; run the same command again to go on")
