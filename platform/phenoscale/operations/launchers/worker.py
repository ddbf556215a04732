"""One of several processes that run a stage together, started by `processes.launch`.

Each runs the stage's own function, as a rank of the elastic agent. The agent tells only that a worker failed,
so the worker that fails first writes down why, for the process that hosts the agent. Restarted after such an
end it repeats it at once: no restart mends a wrong config. A worker that ends because another one was lost,
or because it was asked to, writes nothing: from that a restart recovers.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path

from phenoscale.config import parse_config
from phenoscale.distributed import end_with_parent, rank
from phenoscale.errors import EXIT_DONE, EXIT_RETRY, PhenoscaleError, StoppedError, Terminated, exit_code_of
from phenoscale.files import write_atomic
from phenoscale.logs import configure_logging, keep_last_lines
from phenoscale.operations.launchers.processes import FAILURE, JOB, OBSERVED, RESULT
from phenoscale.operations.stage_table import find_stage
from phenoscale.stages.failure import failure_of, read_failure
from phenoscale.storage import LocalStorage
from phenoscale.training.metrics import append_record


def main(place: Path) -> int:
    """Run a job's stage as one rank; returns the exit code."""
    earlier = read_failure(LocalStorage(place), key=FAILURE)
    if earlier is not None:
        return earlier.exit_code
    with keep_last_lines() as lines:
        try:
            _run(place)
        except (StoppedError, Terminated):
            return EXIT_RETRY
        except BaseException as error:
            if not isinstance(error, PhenoscaleError):
                traceback.print_exc()
            failure = failure_of(error, name=f"rank {rank()}", lines=lines)
            LocalStorage(place).create_bytes(FAILURE, failure.as_bytes())
            return exit_code_of(error)
    return EXIT_DONE


def _run(place: Path) -> None:
    job = json.loads((place / JOB).read_bytes())
    configure_logging(job["log_level"])
    stage = find_stage(job["stage"])
    config = parse_config(stage.load_config_class(), job["config"], source=str(place / JOB))

    def observe(step: int, metrics: Mapping[str, float]) -> None:
        append_record(place / OBSERVED, {"step": step, **metrics})

    result = stage.load_function()(config, observe=observe)
    if rank() == 0:
        write_atomic(place / RESULT, result.as_json())


if __name__ == "__main__":
    end_with_parent()
    sys.exit(main(Path(sys.argv[1])))
