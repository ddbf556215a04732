"""The `pretrain` stage: manifest in, encoder out, with one process, several, or as one rank of torchrun's."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phenoscale.config import require
from phenoscale.distributed import end_with_parent, world_size
from phenoscale.stages import Observer, Output, StageResult, ignore, run_stage
from phenoscale.stages.failure import failure_of
from phenoscale.training.config import PretrainConfig
from phenoscale.training.metrics import MetricsFollower
from phenoscale.training.outcome import (
    OUTCOME_FILE,
    explain_lost_connection,
    is_lost_connection,
    note_failure,
)

if TYPE_CHECKING:
    from phenoscale.training.ranks import Ranks

LIVE_METRICS = "logs/metrics.jsonl"
_WORKER = "phenoscale.training.worker"  # runs as a process of its own, so no import names it


def run_pretrain(config: PretrainConfig, *, observe: Observer = ignore) -> StageResult:
    """Train an encoder on a manifest's crops.

    The output holds `encoder/`, `metrics.jsonl` (one record a line), `reconstructions.npz` (original,
    masked, reconstruction, labels), `figures/`, and in `checkpoints/` the last one, from which a longer
    training can go on. Started by torchrun, a TrainJob or anything else that sets RANK and WORLD_SIZE, this
    process is one rank.

    Args:
        config: of the stage.
        observe: gets each record as (step, metrics); with several processes it is called from a thread.

    Raises:
        UserError: something is wrong with config, manifest or checkpoint, or the training went astray.
        RetryError: SIGTERM came (the state is saved), the disk is full, or processes were lost.
    """
    require(config, "manifest", verb="pretrain")
    if "RANK" in os.environ and world_size() > 1:
        return _run_as_rank(config, observe=observe)

    def build(output: Output) -> Mapping[str, Any]:
        return _build(config, folder=output.folder, observe=observe)

    return _run(config, build=build)


def _run(config: PretrainConfig, *, build: Any) -> StageResult:
    inputs = {"manifest": config.manifest}
    return run_stage(
        "pretrain", entry=__name__, config=config, inputs=inputs, build=build, modules=(_WORKER,)
    )


def _build(config: PretrainConfig, *, folder: Path, observe: Observer) -> Mapping[str, Any]:
    from phenoscale.training.preemption import Preemption

    follower = MetricsFollower(folder / LIVE_METRICS, observe)
    with Preemption() as preemption:
        if config.runtime.num_processes > 1:
            from phenoscale.training.launch import train_in_processes

            with follower.following():
                train_in_processes(config, folder=folder)
            summary: Mapping[str, Any] = json.loads((folder / "logs" / "summary.json").read_bytes())
            return summary
        from phenoscale.training.ranks import join_ranks
        from phenoscale.training.session import train_encoder

        with join_ranks(config.runtime.device) as ranks:
            return train_encoder(
                config, folder=folder, ranks=ranks, after_record=follower.poll, preemption=preemption
            )


def _run_as_rank(config: PretrainConfig, *, observe: Observer) -> StageResult:
    """Rank 0 runs the stage; the others train with it in the folder that it names, and get its result."""
    from phenoscale.training.ranks import join_ranks

    end_with_parent()
    with join_ranks(config.runtime.device) as ranks:
        if ranks.is_first:
            return _lead(config, ranks=ranks, observe=observe)
        return _follow(config, ranks=ranks)


def _lead(config: PretrainConfig, *, ranks: Ranks, observe: Observer) -> StageResult:
    has_begun = False

    def build(output: Output) -> Mapping[str, Any]:
        nonlocal has_begun
        has_begun, folder = True, output.folder
        ranks.share({"folder": str(folder)})
        follower = MetricsFollower(folder / LIVE_METRICS, observe)
        return _train_as_rank(config, folder=folder, ranks=ranks, follower=follower)

    try:
        result = _run(config, build=build)
    except BaseException as error:
        if not has_begun:
            ranks.share({"failure": failure_of(error, name="pretrain")})
        raise
    ranks.share({"result": result})
    return result


def _follow(config: PretrainConfig, *, ranks: Ranks) -> StageResult:
    word: dict[str, Any] = ranks.share({})
    if "failure" in word:
        raise word["failure"].as_error("rank 0 could not start the training: ")
    if "folder" in word:
        follower = MetricsFollower(Path(word["folder"]) / LIVE_METRICS, ignore)
        _train_as_rank(config, folder=Path(word["folder"]), ranks=ranks, follower=follower)
        word = ranks.share({})
    result: StageResult = word["result"]
    return result


def _train_as_rank(
    config: PretrainConfig, *, folder: Path, ranks: Ranks, follower: MetricsFollower
) -> Mapping[str, Any]:
    from phenoscale.training.preemption import Preemption
    from phenoscale.training.session import train_encoder

    if ranks.is_first:
        (folder / OUTCOME_FILE).unlink(missing_ok=True)
    ranks.barrier()
    with Preemption() as preemption:
        try:
            return train_encoder(
                config, folder=folder, ranks=ranks, after_record=follower.poll, preemption=preemption
            )
        except BaseException as error:
            if is_lost_connection(error):
                raise explain_lost_connection(folder) from error
            if not preemption.is_requested:
                note_failure(folder, error)
            raise
