"""Who am I among processes that work together (from torchrun's environment, no torch), and whose child."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

from phenoscale.errors import EXIT_DONE, UserError

_PR_SET_PDEATHSIG: Final = 1


def end_with_parent() -> None:
    """Be killed when the parent is: an orphan would go on writing where the next run writes (Linux only)."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(EXIT_DONE)


def rank() -> int:
    """Return this process's number among all processes of the job, 0 outside of one."""
    return _read_count("RANK", default=0)


def world_size() -> int:
    """Return the number of processes of the job, 1 outside of one."""
    return _read_count("WORLD_SIZE", default=1)


def local_rank() -> int:
    """Return this process's number on its machine, 0 outside of a job."""
    return _read_count("LOCAL_RANK", default=0)


def _read_count(variable: str, *, default: int) -> int:
    text = os.environ.get(variable, "")
    if not text:
        return default
    if not text.isdigit():
        raise UserError(
            f"environment variable {variable}={text!r} is not a whole number; "
            f"unset it, or start the processes with torchrun, which sets it"
        )
    return int(text)
