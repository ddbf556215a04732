"""Processes that train together: equal to one, also after losses, and on another number of processes."""

import os
import shutil
import signal

import numpy as np
import pytest

from phenoscale.errors import UserError
from phenoscale.stages.commit import record_output
from phenoscale.training.metrics import read_records
from tests.support.pretraining import launch_pretrain, tiny_config
from tests.support.pretraining_processes import (
    PLAIN,
    in_workspace,
    largest_difference,
    only_checkpoint,
    ranks_below,
    start_pretraining,
    wait_for_step,
    weights_of,
    with_processes,
)

pytestmark = pytest.mark.ranks

NO_DROP_PATH = {"model": PLAIN["model"]}


def test_two_ranks_give_the_losses_of_one_under_lion(manifest, tmp_path):
    seen = []
    one = launch_pretrain(tiny_config(manifest, tmp_path / "one", **NO_DROP_PATH))
    two = launch_pretrain(
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


def test_two_ranks_with_accumulation_give_the_weights_of_one_under_sgd(one_rank, two_ranks):
    assert two_ranks.summary["num_processes"] == 2
    assert one_rank.summary["num_training_crops"] == two_ranks.summary["num_training_crops"] == 12 * 90
    assert 0 < largest_difference(one_rank, two_ranks) < 1e-6


def test_error_of_a_worker_comes_through_as_the_user_s(manifest, tmp_path):
    config = tiny_config(manifest, tmp_path / "workspace", num_processes=2, crop_size=64)
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(UserError, match="40 x 40 px holds no crop of 64 px"):
        launch_pretrain(config)
    assert handlers == [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]


def test_lost_worker_is_replaced_and_the_training_ends_with_the_bits_of_an_undisturbed_one(
    manifest, tmp_path, two_ranks
):
    killed, seen = [], []

    def kill_one(step, metrics):
        seen.append(step)
        if step >= 20 and not killed:
            killed.append(max(ranks_below(os.getpid())))
            os.kill(killed[0], signal.SIGKILL)

    config = tiny_config(manifest, tmp_path, num_processes=2, micro_batch=2, **PLAIN)
    result = launch_pretrain(config, observe=kill_one)
    assert len(killed) == 1
    assert seen == list(range(1, 91))
    assert weights_of(result) == weights_of(two_ranks)
    assert result.digest == two_ranks.digest


def test_training_of_two_goes_on_with_one_and_with_three_and_refuses_five(manifest, tmp_path, one_rank):
    workspace = tmp_path / "workspace"
    config = tiny_config(manifest, workspace, num_processes=2, **{**PLAIN, "checkpoint_every_steps": 10_000})
    with start_pretraining(config, tmp_path) as process:
        wait_for_step(workspace, 10, process=process)
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 75, process.errors
    place, step = only_checkpoint(workspace)
    assert 10 <= step < 90

    before = record_output(place, key="").digest
    with pytest.raises(UserError, match="global_batch 12 does not divide into 5 processes"):
        launch_pretrain(with_processes(config, 5))
    assert only_checkpoint(workspace) == (place, step)
    assert record_output(place, key="").digest == before

    for number in (1, 3):
        copy = tmp_path / f"by-{number}"
        shutil.copytree(workspace, copy)
        result = launch_pretrain(in_workspace(with_processes(config, number), copy))
        assert result.summary["num_processes"] == number
        assert result.summary["num_training_crops"] == 12 * 90
        assert len(read_records(result.path / "metrics.jsonl")) == 90
        assert largest_difference(one_rank, result) < 1e-6
