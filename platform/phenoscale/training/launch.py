"""Train with several processes of this machine: host torch's elastic agent, and hand on how it ended.

torchrun hides a worker's exit code. Here the agent runs inside this process, so that 2 (wrong input), 70
(our bug) and 75 (please retry) come through. A lost worker is replaced, and all go on from the newest
checkpoint.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from phenoscale.errors import EXIT_RETRY, RetryError
from phenoscale.files import write_atomic
from phenoscale.logs import ROOT_LOGGER
from phenoscale.stages.failure import Failure
from phenoscale.training.config import PretrainConfig
from phenoscale.training.outcome import noted_failure
from phenoscale.training.preemption import preempted_error
from phenoscale.training.settings import plan_batch

WORKER_MODULE = "phenoscale.training.worker"
MAX_RESTARTS = 2
SECONDS_TO_SAVE = 120  # between SIGTERM and SIGKILL


def train_in_processes(config: PretrainConfig, *, folder: Path) -> None:
    """Train with `config.runtime.num_processes` workers; returns when all have finished.

    Raises:
        UserError: the batch does not divide, or a worker found something wrong with the input.
        RetryError: SIGTERM came (the workers saved), the disk is full, or workers were lost again and again.
    """
    # said before any process is started, where it can be
    trained = config.as_trained()
    plan_batch(trained.global_batch, micro_batch=trained.micro_batch, num_ranks=config.runtime.num_processes)
    place = folder / "logs" / "workers"
    shutil.rmtree(place, ignore_errors=True)
    job = {
        "config": config.model_dump(mode="json"),
        "folder": str(folder),
        "log_level": logging.getLevelName(logging.getLogger(ROOT_LOGGER).getEffectiveLevel()),
    }
    write_atomic(place / "job.json", json.dumps(job).encode())
    launch = elastic_launch(_launch_config(config, place=place), sys.executable)
    with _own_signals(), _threads_shared(config.runtime.num_processes):
        try:
            launch("-m", WORKER_MODULE, str(place / "job.json"))
        except SignalException as error:
            if error.sigval == signal.SIGINT:
                raise KeyboardInterrupt from error
            raise preempted_error("while training; the newest checkpoint is kept") from error
        except ChildFailedError as error:
            raise _explain(error, noted=noted_failure(folder)) from error


def _launch_config(config: PretrainConfig, *, place: Path) -> LaunchConfig:
    return LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=config.runtime.num_processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="127.0.0.1",
        max_restarts=MAX_RESTARTS,
        logs_specs=DefaultLogsSpecs(log_dir=str(place / "elastic")),
        shutdown_timeout=SECONDS_TO_SAVE,
    )


def _explain(error: ChildFailedError, *, noted: Failure | None) -> Exception:
    """The error that a worker wrote down; without one, what its exit codes say."""
    if noted is not None:
        return noted.as_error()
    codes = sorted({failure.exitcode for failure in error.failures.values()})
    if any(code < 0 or code == EXIT_RETRY for code in codes):
        return RetryError(
            f"training processes ended {MAX_RESTARTS + 1} times (exit codes {codes}; -9 is often a lack of "
            "memory: use a smaller micro_batch or fewer processes); run the same command again to go on"
        )
    return RuntimeError(f"a training process failed with exit codes {codes}")


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
