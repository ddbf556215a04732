"""Watching a training: callbacks see its records, and may watch, save or stop; they never change numbers.

After a resume the records so far are shown again, so what a callback decides depends on the records alone,
not on how often the process was killed. Dynamics of masked autoencoders (steep descent, plateau, second
descent): MAE paper Fig. 3, science.md 1.6.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from typing import Protocol

from phenoscale.errors import UserError
from phenoscale.logs import get_logger, key_values
from phenoscale.training.metrics import Record
from phenoscale.training.settings import GuardSettings

SMOOTHING = 0.9
MIN_RECORDS = 10  # before that a smoothed loss says nothing
MIN_IMPROVEMENT = 0.001  # relative

logger = get_logger(__name__)


class Verdict(enum.IntEnum):
    """What a callback asks for; of several verdicts the largest counts."""

    CONTINUE = 0
    SAVE = 1
    STOP = 2
    PREEMPTED = 3
    DIVERGED = 4


class Callback(Protocol):
    """Sees every record of rank 0, in order."""

    def see(self, record: Record) -> Verdict:
        """Look at a record and say how to go on."""


class Smoothed:
    """A bias-corrected exponential moving average of the training loss, and its lowest value."""

    def __init__(self) -> None:
        self.count = 0
        self.lowest = math.inf
        self.count_at_lowest = 0
        self._sum = 0.0

    def add(self, loss: float) -> float:
        """Take in one loss and return the average."""
        self.count += 1
        self._sum = SMOOTHING * self._sum + (1 - SMOOTHING) * loss
        value = self._sum / (1 - SMOOTHING**self.count)
        if self.count >= MIN_RECORDS and value < self.lowest * (1 - MIN_IMPROVEMENT):
            self.lowest, self.count_at_lowest = value, self.count
        return value


class DivergenceGuard:
    """Stops a training whose smoothed loss has risen far above its lowest value."""

    def __init__(self, *, factor: float) -> None:
        self._factor = factor
        self._loss = Smoothed()

    def see(self, record: Record) -> Verdict:
        """Compare the smoothed loss with its lowest value."""
        value = self._loss.add(record["loss"])
        return Verdict.DIVERGED if value > self._factor * self._loss.lowest else Verdict.CONTINUE


class Descent:
    """Follows the loss down: where it stands still, and where it falls again (the second descent).

    Attributes:
        is_on_plateau: whether the smoothed loss has not improved over the last `num_records` records.
        plateau_from_step: where the first plateau began: the step of the lowest smoothed loss before it;
            None if there was none.
        second_descent_step: where the loss was seen to fall again after it.
    """

    def __init__(self, *, num_records: int) -> None:
        self._num_records = num_records
        self._loss = Smoothed()
        self._step_at_lowest = 0
        self.smoothed_loss = math.inf
        self.is_on_plateau = False
        self.plateau_from_step: int | None = None
        self.second_descent_step: int | None = None

    def add(self, record: Record) -> bool:
        """Take in a record; returns whether a plateau begins or ends there."""
        step = int(record["step"])
        self.smoothed_loss = self._loss.add(record["loss"])
        waited = self._loss.count - self._loss.count_at_lowest
        is_on_plateau = 0 < self._num_records <= waited and self._loss.count > MIN_RECORDS
        has_changed = is_on_plateau != self.is_on_plateau
        if has_changed and self.plateau_from_step is None:
            self.plateau_from_step = self._step_at_lowest
        elif has_changed and self.second_descent_step is None:
            self.second_descent_step = step
        self._step_at_lowest = step if waited == 0 else self._step_at_lowest
        self.is_on_plateau = is_on_plateau
        return has_changed


class PlateauMonitor:
    """Says when the loss has stopped falling, and when it falls again."""

    def __init__(self, *, num_records: int) -> None:
        self._descent = Descent(num_records=num_records)

    def see(self, record: Record) -> Verdict:
        """Compare the smoothed loss with its lowest value, and log a change."""
        descent = self._descent
        if descent.add(record):
            event = "plateau" if descent.is_on_plateau else "descent after a plateau"
            step, value = int(record["step"]), descent.smoothed_loss
            logger.info("%s", key_values(step=step, event=event, smoothed_loss=value))
        return Verdict.CONTINUE


class EarlyStop:
    """Stops when the validation loss has not improved over several measurements."""

    def __init__(self, *, patience: int) -> None:
        self._patience = patience
        self._lowest = math.inf
        self._waited = 0

    def see(self, record: Record) -> Verdict:
        """Compare the validation loss, where the record has one, with its lowest value."""
        loss = record.get("validation_loss")
        if loss is None:
            return Verdict.CONTINUE
        improved = loss < self._lowest
        self._lowest = min(self._lowest, loss)
        self._waited = 0 if improved else self._waited + 1
        return Verdict.STOP if self._waited >= self._patience else Verdict.CONTINUE


def build_guards(settings: GuardSettings) -> list[Callback]:
    """The callbacks that every training has."""
    guards: list[Callback] = [DivergenceGuard(factor=settings.divergence_factor)]
    if settings.plateau_records:
        guards.append(PlateauMonitor(num_records=settings.plateau_records))
    if settings.early_stop_patience:
        guards.append(EarlyStop(patience=settings.early_stop_patience))
    return guards


def describe_descent(records: Sequence[Record], *, num_records: int) -> dict[str, int | None]:
    """Where the loss of a training stood still, and where it fell again; None where it did not."""
    descent = Descent(num_records=num_records)
    for record in records:
        descent.add(record)
    return {
        "plateau_from_step": descent.plateau_from_step,
        "second_descent_step": descent.second_descent_step,
    }


def ask(callbacks: Sequence[Callback], record: Record) -> Verdict:
    """Show a record to all callbacks and return the largest verdict."""
    return max((callback.see(record) for callback in callbacks), default=Verdict.CONTINUE)


def diverged_error(*, step: int, loss: float, factor: float) -> UserError:
    """The error of a training whose loss has risen too far."""
    return UserError(
        f"the training diverged: at step {step} the loss is {loss:.4g} and its smoothed value more than "
        f"{factor:g} times its lowest (guards.divergence_factor); lower optimizer.learning_rate, lengthen "
        "schedule.warmup_fraction, or use the Fourier loss (loss.alpha .01), which keeps large models stable"
    )
