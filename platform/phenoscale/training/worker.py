"""One of several training processes of an elastic agent: `python -m phenoscale.training.worker JOB`.

The agent tells only that a worker failed, so the worker that fails first writes down why, for the process
that hosts the agent. Restarted after such an end it repeats it at once: no restart mends a wrong config. A
worker that ends because another one was lost, or because it was asked to, writes nothing: from that a
restart recovers.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any

from phenoscale.distributed import end_with_parent, rank
from phenoscale.errors import EXIT_DONE, EXIT_RETRY, PhenoscaleError, exit_code_of
from phenoscale.logs import configure_logging
from phenoscale.training.config import PretrainConfig
from phenoscale.training.preemption import Preemption

OUTCOME_FILE = "outcome.json"


def main(job_file: Path) -> int:
    """Train as one rank of a job; returns the exit code."""
    outcome = job_file.parent / OUTCOME_FILE
    earlier = read_outcome(outcome)
    if earlier:
        return int(earlier["exit_code"])
    job = json.loads(job_file.read_bytes())
    configure_logging(job["log_level"])
    with Preemption(raises_outside=False) as preemption:
        try:
            _train(PretrainConfig(**job["config"]), folder=Path(job["folder"]), preemption=preemption)
        except BaseException as error:
            if preemption.is_requested or is_lost_connection(error):
                return EXIT_RETRY
            if not isinstance(error, PhenoscaleError):
                traceback.print_exc()
            message = str(error) or type(error).__name__
            _write_outcome(outcome, code=exit_code_of(error), message=message)
            return exit_code_of(error)
    return EXIT_DONE


def read_outcome(file: Path) -> dict[str, Any]:
    """Why the first worker failed: exit_code, message, rank; empty if none wrote it."""
    try:
        content: dict[str, Any] = json.loads(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return content


def _train(config: PretrainConfig, *, folder: Path, preemption: Preemption) -> None:
    from phenoscale.training.ranks import join_ranks
    from phenoscale.training.session import train_encoder

    with join_ranks(config.runtime.device) as ranks:
        train_encoder(config, folder=folder, ranks=ranks, after_record=lambda: None, preemption=preemption)


def is_lost_connection(error: BaseException) -> bool:
    """Say whether an error came from the link to another rank; gloo's are plain RuntimeErrors."""
    from torch.distributed import DistError

    return isinstance(error, DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def _write_outcome(file: Path, *, code: int, message: str) -> None:
    """The first one to fail tells why; what fails after it is a consequence."""
    try:
        with file.open("x", encoding="utf-8") as stream:
            json.dump({"exit_code": code, "message": message, "rank": rank()}, stream)
    except FileExistsError:
        return


if __name__ == "__main__":
    end_with_parent()
    sys.exit(main(Path(sys.argv[1])))
