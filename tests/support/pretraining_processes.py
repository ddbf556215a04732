"""Trainings as real processes: the command line, torchrun's nodes, and their ranks to stop and kill."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from phenoscale.stages.attempt import output_of_attempt
from phenoscale.training.metrics import read_records
from tests.support.programs import PHENOSCALE, TORCHRUN, Program

PLAIN = {  # under plain SGD rounding is not amplified; stochastic depth is drawn per rank, so there is none
    "model": {"size": "tiny"},
    "global_batch": 12,
    "num_steps": 90,
    "checkpoint_every_steps": 13,
    "optimizer": {"name": "sgd", "learning_rate": 0.05},
}


def with_processes(config, num_processes):
    """The same training by another number of processes."""
    runtime = config.runtime.model_copy(update={"num_processes": num_processes})
    return config.model_copy(update={"runtime": runtime})


def in_workspace(config, workspace):
    """The same training in another workspace."""
    runtime = config.runtime.model_copy(update={"workspace": str(workspace)})
    return config.model_copy(update={"runtime": runtime})


def start_pretraining(config, place, *, torchrun=None, environment=None):
    """Start `phenoscale pretrain` as a process of its own.

    Args:
        config: of the stage.
        place: folder for its config file.
        torchrun: arguments for torchrun to start it with; None: it starts by itself.
        environment: variables besides this process's.
    """
    place = Path(place)
    place.mkdir(parents=True, exist_ok=True)
    file = place / "config.yaml"
    file.write_text(json.dumps(config.model_dump(mode="json")))
    words = ["pretrain", "--config", file]
    if torchrun is None:
        return Program(PHENOSCALE, *words, environment=environment)
    return Program(TORCHRUN, *torchrun, "-m", "phenoscale", *words, environment=environment)


def free_port():
    """A port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def ranks_below(pid):
    """Process ids of all live processes that a process has started, and they, and so on."""
    parents = {}
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            status = (place / "stat").read_text().rpartition(")")[2].split()
            if status[0] != "Z":
                parents[int(place.name)] = int(status[1])
    found, front = [], [pid]
    while front:
        front = sorted(child for child, parent in parents.items() if parent in front)
        found += front
    return found


@contextlib.contextmanager
def stopped(processes):
    """Stop processes and all that they have started, as if they were waiting; they live, but do nothing."""
    pids = [pid for process in processes for pid in (process.pid, *ranks_below(process.pid))]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def wait_until_gone(pids):
    """Wait until none of some processes runs."""
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() and not is_zombie(pid) for pid in pids):
        assert time.monotonic() < deadline, f"still running: {pids}"
        time.sleep(0.02)


def is_zombie(pid):
    """Whether a process has ended and is only waited for."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def live_metrics(workspace):
    """The live record of the one training in a workspace, when it has begun."""
    return next(iter(Path(workspace).glob("pretrain/*/logs/metrics.jsonl")), None)


def wait_for_step(workspace, step, *, process):
    """Wait until a training has recorded a step; fail if it ends before."""
    while process.poll() is None:
        file = live_metrics(workspace)
        records = read_records(file) if file else []
        if records and records[-1]["step"] >= step:
            return
        time.sleep(0.01)
    raise AssertionError(f"the training ended before step {step}: {process.errors}")


def only_checkpoint(workspace):
    """The one published checkpoint of the one training in a workspace, and its step."""
    places = Path(workspace).glob("pretrain/*/checkpoints/step-*")
    (place,) = [place for place in places if place.parents[1] == output_of_attempt(place.parents[1])]
    return place, int(place.name.removeprefix("step-"))


def weights_of(result):
    """The bytes of the trained encoder of a finished training."""
    return (Path(result.path) / "encoder" / "encoder.safetensors").read_bytes()


def largest_difference(left, right):
    """The largest difference between the encoders of two finished trainings."""
    found, wanted = (load_file(Path(side.path) / "encoder" / "encoder.safetensors") for side in (left, right))
    assert found.keys() == wanted.keys()
    return max(np.abs(found[name] - wanted[name]).max() for name in wanted)
