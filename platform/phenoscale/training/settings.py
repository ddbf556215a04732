"""What the training loop needs to know, as plain frozen dataclasses: no pydantic, files or environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from phenoscale.errors import UserError
from phenoscale.models.losses import LossSettings
from phenoscale.schema.encoders import Precision

OptimizerName = Literal["lion", "adamw", "sgd"]
Shape = Literal["cosine", "one_cycle_released", "cyclic_cosine", "constant"]
Warmup = Literal["linear", "cosine"]
Recompute = Literal["none", "elementwise", "blocks"]
Parallel = Literal["ddp", "fsdp"]


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """The optimizer and its constants: `sgd` has momentum and ignores the betas, the others the reverse."""

    name: OptimizerName = "lion"
    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.95)
    momentum: float = 0.0
    weight_decay: float = 0.05


@dataclass(frozen=True, kw_only=True)
class ScheduleSettings:
    """How the learning rate rises over a fraction of all steps, and what it does then.

    Attributes:
        shape: `cosine` is half a cosine to zero, `cyclic_cosine` that several times over, each from the peak;
            `one_cycle_released` is what the released configuration does instead of what the paper says.
        warmup: the form of the rise; `one_cycle_released` has its own.
        num_cycles: of `cyclic_cosine`.
    """

    num_steps: int
    shape: Shape = "cosine"
    warmup: Warmup = "linear"
    warmup_fraction: float = 0.1
    num_cycles: int = 1


@dataclass(frozen=True, kw_only=True)
class GuardSettings:
    """When to warn and when to stop.

    Attributes:
        divergence_factor: stop when the smoothed training loss exceeds its lowest value by this factor.
        plateau_records: say so when the smoothed loss has not improved over so many records; 0 is never.
        early_stop_patience: stop after so many validations without improvement; 0 is never.
    """

    divergence_factor: float = 4.0
    plateau_records: int = 50
    early_stop_patience: int = 0


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Everything that decides the numbers of a training run, besides the crops, and how often it reports.

    Attributes:
        model: the frozen description of a model of any family.
        global_batch: crops of one optimizer step over all processes.
        ema_decay: how much of the averaged weights remains at each step; None keeps no average.
        micro_batch: crops of one forward pass in one process; 0 means all that fall to the process.
        recompute: what is computed again in the backward pass instead of being kept in memory.
        parallel: each process has the whole model (ddp), or a shard of it (fsdp).
        config_digest: fingerprint of the config that these settings come from; a checkpoint of another is
            refused.
    """

    model: Any
    schedule: ScheduleSettings
    global_batch: int
    intensity_scale: float
    loss: LossSettings = field(default_factory=LossSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    guards: GuardSettings = field(default_factory=GuardSettings)
    ema_decay: float | None = None
    micro_batch: int = 0
    precision: Precision = "fp32"
    compile_blocks: bool = False
    recompute: Recompute = "none"
    parallel: Parallel = "ddp"
    checkpoint_every_steps: int = 500
    keep_checkpoints: int = 2
    validate_every_steps: int = 500
    log_every_steps: int = 10
    seed: int = 0
    config_digest: str = ""


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """How one global batch is divided: global_batch = micro_batch * num_ranks * num_accumulations."""

    global_batch: int
    micro_batch: int
    num_ranks: int
    num_accumulations: int

    @property
    def rank_batch(self) -> int:
        """Crops of one optimizer step in one process."""
        return self.micro_batch * self.num_accumulations


def plan_batch(global_batch: int, *, micro_batch: int, num_ranks: int, same_plate: int = 0) -> BatchPlan:
    """Divide a global batch over processes and forward passes.

    Args:
        global_batch: crops of one optimizer step over all processes.
        micro_batch: crops of one forward pass in one process; 0 means all that fall to the process.
        num_ranks: processes.
        same_plate: so many crops in a row come from one plate and must go through the model together.

    Raises:
        UserError: it does not divide; every crop of a batch has to weigh the same.
    """
    if micro_batch == 0 and global_batch % num_ranks == 0:
        micro_batch = global_batch // num_ranks
    at_once = (micro_batch or 1) * num_ranks
    if global_batch % at_once:
        multiple = max(1, round(global_batch / at_once)) * at_once
        shown = (
            f"micro_batch {micro_batch} x {num_ranks} processes" if micro_batch else f"{num_ranks} processes"
        )
        raise UserError(
            f"global_batch {global_batch} does not divide into {shown} = {at_once} crops at once: "
            f"global_batch must be micro_batch x processes x a whole number of accumulations; "
            f"use global_batch {multiple}, or another micro_batch or runtime.num_processes"
        )
    if same_plate and micro_batch % same_plate:
        groups = num_ranks * same_plate
        multiple = max(1, round(global_batch / groups)) * groups
        raise UserError(
            f"a forward pass of {micro_batch} crops is not a whole number of groups of {same_plate} crops of "
            f"one plate, over which this model takes its batch-norm statistics (model.ghost_batch): use "
            f"global_batch {multiple} and a micro_batch of 0 or {same_plate}, or another model.ghost_batch"
        )
    return BatchPlan(
        global_batch=global_batch,
        micro_batch=micro_batch,
        num_ranks=num_ranks,
        num_accumulations=global_batch // at_once,
    )
