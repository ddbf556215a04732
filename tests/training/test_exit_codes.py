"""Exit codes of `phenoscale pretrain`: 0 done, 2 wrong input, 70 our bug, 75 please retry."""

import json
import signal

import pytest

from phenoscale.stages.attempt import output_of_attempt
from phenoscale.stages.failure import read_failure
from phenoscale.storage import LocalStorage
from phenoscale.training.metrics import read_records
from tests.support.pretraining import tiny_config
from tests.support.pretraining_processes import (
    PLAIN,
    live_metrics,
    start_pretraining,
    wait_for_step,
    weights_of,
)

pytestmark = pytest.mark.ranks


def end_of(config, place):
    """How the command ends, and what it says."""
    with start_pretraining(config, place) as process:
        return process.wait(), process.errors


@pytest.mark.parametrize("num_processes", [1, 2])
def test_command_preempted_then_hit_by_a_bug_then_repeated_ends_with_75_70_and_0(
    manifest, tmp_path, num_processes, one_rank, two_ranks
):
    workspace = tmp_path / "workspace"
    micro_batch = {1: 0, 2: 2}[num_processes]
    config = tiny_config(manifest, workspace, num_processes=num_processes, micro_batch=micro_batch, **PLAIN)
    with start_pretraining(config, tmp_path) as process:
        wait_for_step(workspace, 10, process=process)
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 75, process.errors
    assert "run the same command again" in process.errors
    checkpoints = sorted(workspace.glob("pretrain/*/checkpoints/step-*"))
    step = int(checkpoints[-1].name.removeprefix("step-"))
    assert read_records(live_metrics(workspace))[-1]["step"] == step >= 10
    folder = output_of_attempt(live_metrics(workspace).parents[1])
    failure_of_stage = {"storage": LocalStorage(folder.parent), "key": f"{folder.name}.failure.json"}
    assert read_failure(**failure_of_stage).exit_code == 75

    # A record that no version of ours has written: what reads it trusts that there is a loss.
    kept = live_metrics(workspace).read_text()
    live_metrics(workspace).write_text(json.dumps({"step": 0}) + "\n" + kept)
    code, errors = end_of(config, tmp_path)
    assert code == 70, errors
    assert "a bug of ours" in errors
    assert read_failure(**failure_of_stage).exit_code == 70

    live_metrics(workspace).write_text(kept)
    code, errors = end_of(config, tmp_path)
    assert code == 0, errors
    assert read_failure(**failure_of_stage) is None
    finished = {1: one_rank, 2: two_ranks}[num_processes]
    records = [read_records(side / "metrics.jsonl") for side in (folder, finished.path)]
    assert records[0] == records[1]
    assert (folder / "encoder" / "encoder.safetensors").read_bytes() == weights_of(finished)


@pytest.mark.parametrize("num_processes", [1, 2])
def test_command_with_a_wrong_config_ends_with_2_and_the_message(manifest, tmp_path, num_processes):
    config = tiny_config(manifest, tmp_path / "workspace", num_processes=num_processes, crop_size=64)
    code, errors = end_of(config, tmp_path)
    assert code == 2, errors
    assert "phenoscale pretrain: " in errors
    assert "40 x 40 px holds no crop of 64 px" in errors
    assert "Traceback" not in errors
