"""Why a rank failed, written down by the first that fails: all others only see that it is gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from phenoscale.errors import StoppedError, Terminated
from phenoscale.stages.failure import failure_of, read_failure
from phenoscale.storage import LocalStorage

if TYPE_CHECKING:
    from phenoscale.training.preemption import Preemption
    from phenoscale.training.ranks import Ranks

OUTCOME_FILE = "logs/outcome.json"  # below the folder that is being written


@contextmanager
def first_failure_noted(folder: Path, *, ranks: Ranks, preemption: Preemption) -> Iterator[None]:
    """End all ranks with the error of the one that failed first; alone, do nothing."""
    if ranks.world_size == 1:
        yield
        return
    if ranks.is_first:
        (folder / OUTCOME_FILE).unlink(missing_ok=True)
    ranks.barrier()
    try:
        yield
    except (StoppedError, Terminated):
        raise
    except BaseException as error:
        if preemption.is_requested:
            raise StoppedError(
                f"asked to end (SIGTERM), and then {error}; run the same command again"
            ) from error
        if is_lost_connection(error):
            raise explain_lost_connection(folder) from error
        note_failure(folder, error, rank=ranks.rank)
        raise


def note_failure(folder: Path, error: BaseException, *, rank: int) -> None:
    """Write down an error, unless another rank was first: what fails after it is a consequence."""
    failure = failure_of(error, name=f"rank {rank}")
    LocalStorage(folder).create_bytes(OUTCOME_FILE, failure.as_bytes())


def is_lost_connection(error: BaseException) -> bool:
    """Say whether an error came from the link to another rank; gloo's are plain RuntimeErrors."""
    from torch.distributed import DistError

    return isinstance(error, DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def explain_lost_connection(folder: Path | None = None) -> Exception:
    """What the rank wrote down that is gone; if it had no time to, that the command has to be repeated."""
    failure = None if folder is None else read_failure(LocalStorage(folder), key=OUTCOME_FILE)
    if failure is not None:
        return failure.as_error()
    return StoppedError("another training process was lost; run the same command again to go on")
