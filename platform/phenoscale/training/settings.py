"""What the training loop needs to know, as plain frozen dataclasses: no pydantic, files or environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from phenoscale.errors import UserError
from phenoscale.models.losses import FourierMode
from phenoscale.models.mae import MaskedAutoencoderConfig

OptimizerName = Literal["lion", "adamw", "sgd"]
Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """(1 - alpha) * masked mean squared error + alpha * Fourier loss."""

    alpha: float = 0.01
    fourier_mode: FourierMode = "per_patch"


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """The optimizer and its constants; `sgd` is plain, without momentum, and ignores the betas."""

    name: OptimizerName = "lion"
    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.05


@dataclass(frozen=True, kw_only=True)
class ScheduleSettings:
    """Linear warm-up over a fraction of all steps, then half a cosine to zero."""

    num_steps: int
    warmup_fraction: float = 0.1


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
        global_batch: crops of one optimizer step over all processes.
        micro_batch: crops of one forward pass in one process; 0 means all that fall to the process.
        config_digest: fingerprint of the config that these settings come from; a checkpoint of another is
            refused.
    """

    model: MaskedAutoencoderConfig
    schedule: ScheduleSettings
    global_batch: int
    intensity_scale: float
    loss: LossSettings = field(default_factory=LossSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    guards: GuardSettings = field(default_factory=GuardSettings)
    micro_batch: int = 0
    precision: Precision = "fp32"
    compile_blocks: bool = False
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


def plan_batch(global_batch: int, *, micro_batch: int, num_ranks: int) -> BatchPlan:
    """Divide a global batch over processes and forward passes.

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
    return BatchPlan(
        global_batch=global_batch,
        micro_batch=micro_batch,
        num_ranks=num_ranks,
        num_accumulations=global_batch // at_once,
    )
