"""Several processes that train together: equal to one, and their ends come through."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from phenoscale.errors import UserError
from phenoscale.training.launch import train_in_processes
from phenoscale.training.metrics import read_records
from phenoscale.training.stage import run_pretrain
from tests.support.pretraining import live_metrics, start_pretraining, tiny_config, wait_for_step

pytestmark = pytest.mark.ranks

NO_DROP_PATH = {"model": {"size": "tiny"}}  # it is drawn per rank
PLAIN = {
    **NO_DROP_PATH,
    "num_steps": 60,
    "checkpoint_every_steps": 13,
    "optimizer": {"name": "sgd", "learning_rate": 0.05},
}


@pytest.fixture(scope="module")
def one_rank(manifest, tmp_path_factory):
    """A training by one process under SGD."""
    return run_pretrain(tiny_config(manifest, tmp_path_factory.mktemp("one"), **PLAIN))


def largest_difference(left, right):
    """The largest difference between the weights of two trainings."""
    found, wanted = (load_file(side.path / "encoder" / "encoder.safetensors") for side in (left, right))
    assert found.keys() == wanted.keys()
    return max(np.abs(found[name] - wanted[name]).max() for name in wanted)


def workers_of(parent):
    """Process ids of the training workers that a process has started."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            command = (place / "cmdline").read_bytes()
            status = (place / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if b"phenoscale.training.worker" in command and int(status[1]) == parent and status[0] != "Z":
            found.append(int(place.name))
    return found


def test_two_ranks_give_the_losses_of_one_under_lion(manifest, tmp_path):
    seen = []
    one = run_pretrain(tiny_config(manifest, tmp_path / "one", **NO_DROP_PATH))
    two = run_pretrain(
        tiny_config(manifest, tmp_path / "two", num_processes=2, **NO_DROP_PATH),
        observe=lambda step, metrics: seen.append(step),
    )
    records = [read_records(result.path / "metrics.jsonl") for result in (one, two)]
    assert seen == [record["step"] for record in records[1]] == list(range(1, 13))
    for name in ("loss", "mse", "fourier", "learning_rate"):
        losses = [[record[name] for record in side] for side in records]
        assert np.allclose(losses[0], losses[1], rtol=0, atol=1e-5), name
    validation = [[r["validation_loss"] for r in side if "validation_loss" in r] for side in records]
    assert len(validation[0]) == 2
    assert np.allclose(validation[0], validation[1], rtol=0, atol=1e-5)
    assert two.summary["num_processes"] == 2
    with (
        np.load(one.path / "reconstructions.npz") as left,
        np.load(two.path / "reconstructions.npz") as right,
    ):
        assert np.array_equal(left["original"], right["original"])
        assert np.array_equal(left["masked"], right["masked"])


def test_two_ranks_with_accumulation_give_the_weights_of_one_under_sgd(manifest, tmp_path, one_rank):
    two = run_pretrain(tiny_config(manifest, tmp_path, num_processes=2, micro_batch=2, **PLAIN))
    assert two.summary["num_processes"] == 2
    assert largest_difference(one_rank, two) < 1e-6


def test_error_of_a_worker_comes_through_as_the_user_s(manifest, tmp_path):
    config = tiny_config(manifest, tmp_path / "workspace", num_processes=2, global_batch=9)
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(UserError, match="global_batch 9 does not divide into 2 processes"):
        train_in_processes(config, folder=tmp_path / "output")
    assert handlers == [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]


def test_lost_worker_is_replaced_and_the_training_ends_as_if_nothing_had_happened(
    manifest, tmp_path, one_rank
):
    killed, seen = [], []

    def kill_one(step, metrics):
        seen.append(step)
        if step >= 20 and not killed:
            killed.append(max(workers_of(os.getpid())))
            os.kill(killed[0], signal.SIGKILL)

    result = run_pretrain(tiny_config(manifest, tmp_path, num_processes=2, **PLAIN), observe=kill_one)
    assert len(killed) == 1
    assert seen == list(range(1, 61))
    assert largest_difference(one_rank, result) < 1e-6


def test_sigterm_to_the_host_saves_and_ends_with_75_and_one_process_goes_on(manifest, tmp_path, one_rank):
    workspace = tmp_path / "workspace"
    endless = {**PLAIN, "num_steps": 2000, "checkpoint_every_steps": 10_000}
    config = tiny_config(manifest, workspace, num_processes=2, **endless)
    with start_pretraining(config, tmp_path) as process:
        wait_for_step(workspace, 20, process=process)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate()
    assert process.returncode == 75, errors
    saved = list(workspace.glob("pretrain/*/checkpoints/step-*"))
    assert len(saved) == 1
    step = int(saved[0].name.removeprefix("step-"))
    assert step >= 20

    def stop(number, metrics):
        assert number <= step or metrics["loss"] > 0
        if number == step + 5:
            raise InterruptedError

    alone = config.model_copy(update={"runtime": config.runtime.model_copy(update={"num_processes": 1})})
    with pytest.raises(InterruptedError):
        run_pretrain(alone, observe=stop)
    assert [record["step"] for record in read_records(live_metrics(workspace))] == list(range(1, step + 6))
