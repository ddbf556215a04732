"""Run a stage in several processes of this machine: host torch's elastic agent, and hand on how it ended.

torchrun hides a worker's exit code. Here the agent runs inside this process, so that 2 (wrong input), 70
(our bug) and 75 (please retry) come through. A lost worker is replaced, and all go on from what the stage has
kept. What the workers leave for this process lies in a temporary folder:

job.json          stage, config and log level, for the workers
observed.jsonl    what rank 0 has observed, one record a line
result.json       rank 0's result
failure.json      why a worker failed, written by the first that does
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from phenoscale.config import Config, Runtime
from phenoscale.errors import EXIT_RETRY, RetryError, StoppedError, UserError
from phenoscale.files import write_atomic
from phenoscale.logs import ROOT_LOGGER
from phenoscale.operations.launchers.in_process import launch as launch_here
from phenoscale.operations.stage_table import find_stage
from phenoscale.references import find
from phenoscale.stages import Observer, StageResult, plan_stage
from phenoscale.stages.failure import read_failure
from phenoscale.storage import LocalStorage
from phenoscale.training.metrics import MetricsFollower

if TYPE_CHECKING:
    from torch.distributed.launcher.api import LaunchConfig

WORKER_MODULE: Final = "phenoscale.operations.launchers.worker"
JOB, OBSERVED, RESULT, FAILURE = "job.json", "observed.jsonl", "result.json", "failure.json"
MAX_RESTARTS: Final = 2
SECONDS_TO_SAVE: Final = 120  # between SIGTERM and SIGKILL


def launch(stage: str, config: Config, *, observe: Observer) -> StageResult:
    """Run a stage with `config.runtime.num_processes` ranks; what is there already is returned at once.

    Raises:
        UserError: the stage runs in one process only, or found something wrong with config or input.
        RetryError: SIGTERM came, the disk is full, or workers were lost again and again.
    """
    found = find_stage(stage)
    runtime: Runtime = getattr(config, "runtime", None) or Runtime()
    if not found.check_ranks:
        raise UserError(
            f"stage {stage} runs in one process; leave runtime.launcher out, or set it to in_process"
        )
    if plan_stage(found.load_function(), config).is_cached:
        return launch_here(stage, config, observe=observe)
    find(found.check_ranks)(config, num_ranks=runtime.num_processes)
    with tempfile.TemporaryDirectory(prefix="phenoscale-") as name:
        place = Path(name)
        job = {
            "stage": stage,
            "config": config.model_dump(mode="json", exclude_unset=True),
            "log_level": logging.getLevelName(logging.getLogger(ROOT_LOGGER).getEffectiveLevel()),
        }
        write_atomic(place / JOB, json.dumps(job).encode())
        with MetricsFollower(place / OBSERVED, observe).following():
            _run_agent(place, num_processes=runtime.num_processes)
        return StageResult.from_json((place / RESULT).read_bytes())


def _run_agent(place: Path, *, num_processes: int) -> None:
    """Return when all workers have finished."""
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch

    agent = elastic_launch(_launch_config(place, num_processes=num_processes), sys.executable)
    with _own_signals(), _threads_shared(num_processes):
        try:
            agent("-m", WORKER_MODULE, str(place))
        except SignalException as error:
            if error.sigval == signal.SIGINT:
                raise KeyboardInterrupt from error
            raise StoppedError(
                "asked to end (SIGTERM), and so were the processes that ran the stage; run the same command "
                "again to go on from there"
            ) from error
        except ChildFailedError as error:
            codes = sorted({failure.exitcode for failure in error.failures.values()})
            raise _explain(place, codes=codes) from error


def _launch_config(place: Path, *, num_processes: int) -> LaunchConfig:
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.launcher.api import LaunchConfig

    return LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=num_processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="127.0.0.1",
        max_restarts=MAX_RESTARTS,
        logs_specs=DefaultLogsSpecs(log_dir=str(place / "elastic")),
        shutdown_timeout=SECONDS_TO_SAVE,
    )


def _explain(place: Path, *, codes: list[int]) -> Exception:
    """The error that a worker wrote down; without one, what their exit codes say."""
    failure = read_failure(LocalStorage(place), key=FAILURE)
    if failure is not None:
        return failure.as_error()
    if any(code < 0 or code == EXIT_RETRY for code in codes):
        return RetryError(
            f"processes of the stage ended {MAX_RESTARTS + 1} times (exit codes {codes}; -9 is often a lack "
            "of memory: use a smaller micro_batch or fewer processes); run the same command again to go on"
        )
    return RuntimeError(f"a process of the stage failed with exit codes {codes}")


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Put this process's signal handlers back: the agent installs its own and leaves them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handled = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    before = {number: signal.getsignal(number) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _threads_shared(num_processes: int) -> Iterator[None]:
    """Give each worker its part of the processors, unless the user has decided otherwise."""
    if "OMP_NUM_THREADS" in os.environ:
        yield
        return
    num_cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ["OMP_NUM_THREADS"] = str(max(1, num_cpus // num_processes))
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]
