"""`pretrain` as ranks of torchrun on two nodes: equal to one process, also after the loss of a node."""

import contextlib
import json
import os
import signal

import pytest

from phenoscale.training.stage import run_pretrain
from tests.support.pretraining import tiny_config
from tests.support.pretraining_processes import (
    PLAIN,
    free_port,
    largest_difference,
    ranks_below,
    start_pretraining,
    stopped,
    wait_for_step,
    wait_until_gone,
    weights_of,
)

pytestmark = pytest.mark.ranks

SHARED = {**PLAIN, "micro_batch": 2}


@contextlib.contextmanager
def nodes(config, place, *, torchruns=((), ()), environments=(None, None)):
    """Two agents of torchrun, each with one rank: two nodes, as far as they know."""
    started = [
        start_pretraining(config, place / str(node), torchrun=torchrun, environment=environment)
        for node, (torchrun, environment) in enumerate(zip(torchruns, environments, strict=True))
    ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


def environments_of_a_train_job():
    """What Kubeflow's Trainer sets in the two pods of a TrainJob, whose command is plain `torchrun`."""
    port = str(free_port())
    common = {
        "PET_NNODES": "2",
        "PET_NPROC_PER_NODE": "1",
        "PET_MASTER_ADDR": "127.0.0.1",
        "PET_MASTER_PORT": port,
    }
    return [{**common, "PET_NODE_RANK": str(node)} for node in range(2)]


def kill_with_its_rank(process):
    """A node is lost: its agent is killed, and the rank ends with it."""
    ranks = ranks_below(process.pid)
    assert len(ranks) == 1
    os.kill(process.pid, signal.SIGKILL)
    wait_until_gone(ranks)


def test_train_job_that_loses_a_node_and_is_started_again_ends_with_the_same_bits(
    manifest, tmp_path, one_rank, two_ranks
):
    workspace = tmp_path / "workspace"
    config = tiny_config(manifest, workspace, **SHARED)
    with nodes(config, tmp_path, environments=environments_of_a_train_job()) as (first, second):
        wait_for_step(workspace, 20, process=first)
        with stopped([first, second]):  # alive, but it does not end while another job tries
            job = start_pretraining(config, tmp_path, torchrun=("--standalone", "--nproc-per-node", "2"))
            assert job.wait() != 0
        assert "stage pretrain is being run by process" in job.errors
        kill_with_its_rank(second)
        assert first.wait() != 0
    failure = json.loads(next(workspace.glob("pretrain/*.failure.json")).read_text())
    assert failure["exit_code"] == 75
    assert "run the same command again" in failure["message"]
    with nodes(config, tmp_path, environments=environments_of_a_train_job()) as again:
        endings = [process.wait() for process in again]
        assert endings == [0, 0], [process.errors for process in again]
    result = run_pretrain(config)
    assert result.reused
    assert result.summary["num_processes"] == 2
    assert json.loads((result.path / "lineage.json").read_text())["is_resumed"]
    assert not list(workspace.glob("pretrain/*.failure.json"))
    assert weights_of(result) == weights_of(two_ranks)
    assert largest_difference(result, one_rank) < 1e-6


def test_node_that_comes_back_is_taken_in_by_the_one_that_stayed(manifest, tmp_path, two_ranks):
    workspace = tmp_path / "workspace"
    config = tiny_config(manifest, workspace, **SHARED)
    meeting = [
        *("--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "3", "--rdzv-id", "job"),
        *(
            "--rdzv-backend",
            "c10d",
            "--rdzv-endpoint",
            f"127.0.0.1:{free_port()}",
            "--local-addr",
            "127.0.0.1",
        ),
    ]
    liveness = "keep_alive_interval=1,keep_alive_max_attempt=3"
    # torch 2.15 tells a node that comes back nothing of a store that those who stayed share already
    apart = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    torchruns = [(*meeting, "--rdzv-conf", f"is_host={is_host},{liveness}") for is_host in (1, 0)]
    with nodes(config, tmp_path, torchruns=torchruns, environments=(apart, apart)) as (stays, goes):
        wait_for_step(workspace, 20, process=stays)
        kill_with_its_rank(goes)
        comes_back = start_pretraining(config, tmp_path, torchrun=torchruns[1], environment=apart)
        assert comes_back.wait() == 0, comes_back.errors
        assert stays.wait() == 0
    result = run_pretrain(config)
    assert result.reused
    assert weights_of(result) == weights_of(two_ranks)
