"""Keeps the record of a training: measures, writes, shows it to the callbacks, and says how to go on."""

from __future__ import annotations

import contextlib
import time
from typing import Self

from torch import nn

from phenoscale.logs import progress
from phenoscale.training.guards import Callback, Verdict, ask, build_guards
from phenoscale.training.metrics import append_record, cut_back
from phenoscale.training.schedule import learning_rate_at
from phenoscale.training.task import StepTerms, TrainingTask
from phenoscale.training.validation import validation_loss


class Journal:
    """The record of one training, from the step at which it starts or goes on.

    Use it in a `with` block, which shows the progress. All ranks call `write` together.

    Attributes:
        verdict: what the callbacks said about the last record before `first_step`.
    """

    def __init__(self, task: TrainingTask, *, first_step: int) -> None:
        self._task = task
        self._callbacks: list[Callback] = [*build_guards(task.settings.guards), *task.callbacks]
        self._first_step = first_step
        self._seconds_before = 0.0
        verdict = Verdict.CONTINUE
        if task.ranks.is_first:
            for record in cut_back(task.metrics_file, step=first_step):
                verdict = ask(self._callbacks, record)
                self._seconds_before = record.get("seconds", 0.0)
            task.after_record()
        self.verdict = Verdict(task.ranks.largest(verdict))
        self._started = self._mark = time.monotonic()
        self._marked_step = first_step
        self._context = contextlib.ExitStack()

    def __enter__(self) -> Self:
        num_steps = self._task.settings.schedule.num_steps
        self._progress = self._context.enter_context(progress(num_steps, label="pretrain"))
        self._progress.advance(self._first_step)
        self._started = self._mark = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()

    def write(self, step: int, *, terms: StepTerms, model: nn.Module) -> Verdict:
        """Take note of a step that is done; where a record is due, measure, write and ask the callbacks.

        Returns:
            The largest verdict of all ranks, PREEMPTED if SIGTERM has come to any of them.
        """
        task, settings = self._task, self._task.settings
        is_last = step == settings.schedule.num_steps
        figures = {"loss": terms.loss}
        verdict = Verdict.CONTINUE
        validates = task.validation is not None and (step % settings.validate_every_steps == 0 or is_last)
        if validates or is_last or step % settings.log_every_steps == 0:
            record = self._measure(step, terms=terms)
            if validates:
                assert task.validation is not None
                record["validation_loss"] = validation_loss(
                    model, crops=task.validation, settings=settings, ranks=task.ranks
                )
            figures |= {name: record[name] for name in ("learning_rate", "crops_per_second")}
            if task.ranks.is_first:
                append_record(task.metrics_file, record)
                task.after_record()
                verdict = ask(self._callbacks, record)
            self._mark, self._marked_step = time.monotonic(), step
        self._progress.advance(1, **figures)
        asked = Verdict.PREEMPTED if task.preemption.is_requested else Verdict.CONTINUE
        return Verdict(task.ranks.largest(max(verdict, asked)))

    def _measure(self, step: int, *, terms: StepTerms) -> dict[str, float]:
        settings, now = self._task.settings, time.monotonic()
        num_crops = (step - self._marked_step) * settings.global_batch
        peak = settings.optimizer.learning_rate
        return {
            "step": step,
            "epoch": step * settings.global_batch / self._task.source.num_samples,
            **terms._asdict(),
            "learning_rate": learning_rate_at(step - 1, peak=peak, schedule=settings.schedule),
            "seconds": self._seconds_before + now - self._started,
            "crops_per_second": num_crops / max(now - self._mark, 1e-9),
        }
