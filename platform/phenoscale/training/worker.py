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

from phenoscale.distributed import end_with_parent
from phenoscale.errors import EXIT_DONE, EXIT_RETRY, PhenoscaleError, exit_code_of
from phenoscale.logs import configure_logging
from phenoscale.training.config import PretrainConfig
from phenoscale.training.outcome import is_lost_connection, note_failure, noted_failure
from phenoscale.training.preemption import Preemption


def main(job_file: Path) -> int:
    """Train as one rank of a job; returns the exit code."""
    job = json.loads(job_file.read_bytes())
    folder = Path(job["folder"])
    earlier = noted_failure(folder)
    if earlier is not None:
        return earlier.exit_code
    configure_logging(job["log_level"])
    with Preemption(raises_outside=False) as preemption:
        try:
            _train(PretrainConfig(**job["config"]), folder=folder, preemption=preemption)
        except BaseException as error:
            if preemption.is_requested or is_lost_connection(error):
                return EXIT_RETRY
            if not isinstance(error, PhenoscaleError):
                traceback.print_exc()
            note_failure(folder, error)
            return exit_code_of(error)
    return EXIT_DONE


def _train(config: PretrainConfig, *, folder: Path, preemption: Preemption) -> None:
    from phenoscale.training.ranks import join_ranks
    from phenoscale.training.session import train_encoder

    with join_ranks(config.runtime.device) as ranks:
        train_encoder(config, folder=folder, ranks=ranks, after_record=lambda: None, preemption=preemption)


if __name__ == "__main__":
    end_with_parent()
    sys.exit(main(Path(sys.argv[1])))
