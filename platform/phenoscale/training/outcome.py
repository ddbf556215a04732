"""Why a rank failed, written down by the first that fails: all others only see that it is gone."""

from __future__ import annotations

from pathlib import Path

from phenoscale.distributed import rank
from phenoscale.errors import RetryError
from phenoscale.stages.failure import Failure, failure_of, read_failure
from phenoscale.storage import LocalStorage

OUTCOME_FILE = "logs/workers/outcome.json"  # below the folder that is being written


def note_failure(folder: Path, error: BaseException) -> None:
    """Write down an error, unless another rank was first: what fails after it is a consequence."""
    failure = failure_of(error, name=f"rank {rank()}")
    LocalStorage(folder).create_bytes(OUTCOME_FILE, failure.as_bytes())


def noted_failure(folder: Path) -> Failure | None:
    """Why the first rank failed, None if none wrote it down."""
    return read_failure(LocalStorage(folder), key=OUTCOME_FILE)


def is_lost_connection(error: BaseException) -> bool:
    """Say whether an error came from the link to another rank; gloo's are plain RuntimeErrors."""
    from torch.distributed import DistError

    return isinstance(error, DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def explain_lost_connection(folder: Path) -> Exception:
    """What the rank wrote down that is gone; if it had no time to, that the command has to be repeated."""
    failure = noted_failure(folder)
    if failure is not None:
        return failure.as_error()
    return RetryError("another training process was lost; run the same command again to go on")
