"""The `pretrain` stage: manifest in, encoder out, by this process alone or as one of several ranks."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phenoscale.config import require
from phenoscale.distributed import end_with_parent, world_size
from phenoscale.stages import Observer, Output, StageResult, ignore, run_stage
from phenoscale.stages.failure import failure_of
from phenoscale.training.config import PretrainConfig
from phenoscale.training.metrics import LIVE_FILE, MetricsFollower
from phenoscale.training.outcome import explain_lost_connection, first_failure_noted, is_lost_connection

if TYPE_CHECKING:
    from phenoscale.training.ranks import Ranks


def run_pretrain(config: PretrainConfig, *, observe: Observer = ignore) -> StageResult:
    """Train an encoder on a manifest's crops.

    The output holds `encoder/`, `metrics.jsonl` (one record a line), `reconstructions.npz` (original,
    masked, reconstruction, labels), `figures/`, and in `checkpoints/` the last one, from which a longer
    training can go on. Started by torchrun, a TrainJob or anything else that sets RANK and WORLD_SIZE, this
    process is one rank: rank 0 runs the stage, the others train with it, and all get its result.

    Args:
        config: of the stage.
        observe: gets each record as (step, metrics), on rank 0.

    Raises:
        UserError: something is wrong with config, manifest or checkpoint, or the training went astray.
        RetryError: SIGTERM came (the state is saved), the disk is full, or processes were lost.
    """
    require(config, "manifest", verb="pretrain")
    if "RANK" in os.environ and world_size() > 1:
        return _run_as_rank(config, observe=observe)

    def build(output: Output) -> Mapping[str, Any]:
        from phenoscale.training.ranks import join_ranks

        with join_ranks(config.runtime.device) as ranks:
            return _train(config, output=output, ranks=ranks, observe=observe)

    return _run(config, build=build)


def check_ranks(config: PretrainConfig, *, num_ranks: int) -> None:
    """Raise a UserError where so many ranks cannot share the batch, before any of them is started."""
    from phenoscale.training.settings import plan_batch

    trained = config.as_trained()
    plan_batch(trained.global_batch, micro_batch=trained.micro_batch, num_ranks=num_ranks)


def _run(config: PretrainConfig, *, build: Callable[[Output], Mapping[str, Any]]) -> StageResult:
    inputs = {"manifest": config.manifest}
    return run_stage("pretrain", entry=__name__, config=config, inputs=inputs, build=build)


def _run_as_rank(config: PretrainConfig, *, observe: Observer) -> StageResult:
    """Rank 0 runs the stage; the others train with it in the folder that it names, and get its result."""
    from phenoscale.training.ranks import join_ranks

    end_with_parent()
    try:
        with join_ranks(config.runtime.device) as ranks:
            if ranks.is_first:
                return _lead(config, ranks=ranks, observe=observe)
            return _follow(config, ranks=ranks)
    except Exception as error:
        if is_lost_connection(error):
            raise explain_lost_connection() from error
        raise


def _lead(config: PretrainConfig, *, ranks: Ranks, observe: Observer) -> StageResult:
    has_begun = False

    def build(output: Output) -> Mapping[str, Any]:
        nonlocal has_begun
        has_begun = True
        ranks.share({"folder": output.folder})
        return _train(config, output=output, ranks=ranks, observe=observe)

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
        _train(config, output=Output(Path(word["folder"])), ranks=ranks, observe=ignore)
        word = ranks.share({})
    result: StageResult = word["result"]
    return result


def _train(config: PretrainConfig, *, output: Output, ranks: Ranks, observe: Observer) -> Mapping[str, Any]:
    from phenoscale.training.preemption import Preemption
    from phenoscale.training.session import train_encoder

    follower = MetricsFollower(output.folder / LIVE_FILE, observe)
    with (
        Preemption(raises_outside=ranks.world_size == 1) as preemption,
        first_failure_noted(output.folder, ranks=ranks, preemption=preemption),
    ):
        return train_encoder(
            config, output=output, ranks=ranks, after_record=follower.poll, preemption=preemption
        )
