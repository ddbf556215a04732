"""The local folder of one attempt at an output: scratch, until what is in it is published."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from phenoscale.errors import UserError
from phenoscale.files import explained
from phenoscale.stages.lease import Lease

ATTEMPT_SUFFIX: Final = ".attempt-"
SHARE_SUFFIX: Final = ".share-"


def attempt_folder(folder: Path, *, lease: Lease) -> tuple[Path, bool]:
    """Return the folder of this attempt at an output, and whether it goes on with that of the one before.

    What the runner before left is taken over when it is known to have ended; nobody else writes into it then.
    What is left of any other attempt is removed.
    """
    own = folder.with_name(f"{folder.name}{ATTEMPT_SUFFIX}{lease.token}")
    before = folder.with_name(f"{folder.name}{ATTEMPT_SUFFIX}{lease.token - 1}")
    is_taken_over = lease.is_predecessor_over and before.is_dir()
    try:
        with explained(own):
            if own.is_dir():
                shutil.rmtree(own)  # of a workspace that was removed and made anew
            if is_taken_over:
                before.rename(own)
            own.mkdir(parents=True, exist_ok=True)
    except UserError as error:
        raise UserError(
            f"the workspace cannot be written: {error}; choose another: --runtime.workspace"
        ) from error
    for place in attempts_at(folder):
        if place != own:
            shutil.rmtree(place, ignore_errors=True)
    return own, is_taken_over


def attempts_at(folder: Path) -> list[Path]:
    """Return the folders of all attempts at an output."""
    return sorted(folder.parent.glob(f"{folder.name}{ATTEMPT_SUFFIX}*"))


def output_of_attempt(folder: Path) -> Path:
    """Return the output that a folder is an attempt at; a folder that is no attempt is returned as it is."""
    return folder.parent / folder.name.partition(ATTEMPT_SUFFIX)[0]
