"""Keeps the record of a training: measures, writes, shows it to the callbacks, and says how to go on.

What `metrics.py` lists is in every record. MFU is against the dense bf16 rate of the chip's data sheet, where
the chip is in the table; attention counts, what is recomputed does not.
"""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from typing import Self

import torch

from phenoscale.logs import progress
from phenoscale.models.flops import training_flops
from phenoscale.training.checkpoints import Trained
from phenoscale.training.chips import peak_bf16_flops
from phenoscale.training.guards import Callback, Verdict, ask, build_guards
from phenoscale.training.metrics import append_record, cut_back
from phenoscale.training.schedule import learning_rate_at
from phenoscale.training.task import StepTerms, TrainingTask
from phenoscale.training.validation import validation_terms


class Recorder:
    """The record of one training, from the step at which it starts or goes on.

    Use it in a `with` block, which shows the progress. All ranks call `write` together.

    Attributes:
        verdict: what the callbacks said about the last record before `first_step`.
    """

    def __init__(self, task: TrainingTask, *, first_step: int) -> None:
        self._task = task
        self._callbacks: list[Callback] = [*build_guards(task.settings.guards), *task.callbacks]
        self._first_step = first_step
        self._seconds_before = self._cpu_seconds_before = 0.0
        verdict = Verdict.CONTINUE
        if task.ranks.is_first:
            for record in cut_back(task.metrics_file, step=first_step):
                verdict = ask(self._callbacks, record)
                self._seconds_before = record.get("seconds", 0.0)
                self._cpu_seconds_before = record.get("cpu_seconds", 0.0)
            task.after_record()
        self.verdict = Verdict(task.ranks.largest(verdict))
        self._flops_per_crop = training_flops(task.settings.model)
        self._peak_flops = _peak_flops(task.ranks.device)
        self._started = self._mark = time.monotonic()
        self._cpu_started = time.process_time()
        self._marked_step, self._marked_wait = first_step, 0.0
        self._context = contextlib.ExitStack()

    def __enter__(self) -> Self:
        num_steps = self._task.settings.schedule.num_steps
        self._progress = self._context.enter_context(progress(num_steps, label="pretrain"))
        self._progress.advance(self._first_step)
        self._started = self._mark = time.monotonic()
        self._cpu_started = time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()

    def write(self, step: int, *, terms: StepTerms, trained: Trained, waited_seconds: float = 0.0) -> Verdict:
        """Take note of a step that is done; where a record is due, measure, write and ask the callbacks.

        Args:
            step: steps done.
            terms: of the step.
            trained: measured on the validation crops.
            waited_seconds: how long this process has waited for crops so far.

        Returns:
            The largest verdict of all ranks, PREEMPTED if SIGTERM has come to any of them.
        """
        task, settings = self._task, self._task.settings
        is_last = step == settings.schedule.num_steps
        validates = task.validation is not None and (step % settings.validate_every_steps == 0 or is_last)
        figures = {"loss": terms.loss}
        if not (validates or is_last or step % settings.log_every_steps == 0):
            self._progress.advance(1, **figures)
            return Verdict.PREEMPTED if self._is_preempted(terms) else Verdict.CONTINUE
        record = self._measure(step, terms=terms, waited_seconds=waited_seconds)
        if validates:
            record |= self._validate(trained)
        verdict = Verdict.CONTINUE
        if task.ranks.is_first:
            append_record(task.metrics_file, record)
            task.after_record()
            verdict = ask(self._callbacks, record)
        self._mark, self._marked_step, self._marked_wait = time.monotonic(), step, waited_seconds
        shown = ("learning_rate", "crops_per_second")
        self._progress.advance(1, **figures, **{name: record[name] for name in shown})
        asked = Verdict.PREEMPTED if self._is_preempted(terms) else Verdict.CONTINUE
        return Verdict(task.ranks.largest(max(verdict, asked)))

    def _is_preempted(self, terms: StepTerms) -> bool:
        """What all ranks know alike; one rank alone knows at once."""
        alone = self._task.ranks.world_size == 1
        return terms.is_preempted or (alone and self._task.preemption.is_requested)

    def _validate(self, trained: Trained) -> dict[str, float]:
        task = self._task
        assert task.validation is not None
        averaged = contextlib.nullcontext() if trained.ema is None else trained.ema.applied()
        with averaged:
            terms = validation_terms(
                trained.model, crops=task.validation, settings=task.settings, ranks=task.ranks
            )
        return {f"validation_{name}": terms[name] for name in ("loss", "accuracy") if name in terms}

    def _measure(self, step: int, *, terms: StepTerms, waited_seconds: float) -> dict[str, float]:
        settings, ranks, now = self._task.settings, self._task.ranks, time.monotonic()
        seconds = max(now - self._mark, 1e-9)
        num_crops = (step - self._marked_step) * settings.global_batch
        rate, flops = num_crops / seconds, self._flops_per_crop
        own = [self._cpu_seconds_before + time.process_time() - self._cpu_started]
        own.append((waited_seconds - self._marked_wait) / seconds / ranks.world_size)
        cpu_seconds, loader_wait = ranks.sum(torch.tensor(own, dtype=torch.float64)).tolist()
        record = {
            "step": step,
            "epoch": step * settings.global_batch / self._task.source.num_samples,
            "crops": step * settings.global_batch,
            "flops": step * settings.global_batch * flops,
            **terms.terms,
            "gradient_norm": terms.gradient_norm,
            "learning_rate": learning_rate_at(
                step - 1, peak=settings.optimizer.learning_rate, schedule=settings.schedule
            ),
            "seconds": self._seconds_before + now - self._started,
            "crops_per_second": rate,
            "cpu_seconds": cpu_seconds,
            "loader_wait": loader_wait,
            "memory_gb": peak_memory_gb(ranks.device),
        }
        if self._peak_flops is not None:
            record["mfu"] = rate * flops / (self._peak_flops * ranks.world_size)
        return record


def peak_memory_gb(device: torch.device) -> float:
    """The most memory that this process has held so far, in 10^9 bytes: of the GPU, or of the machine."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def _peak_flops(device: torch.device) -> float | None:
    return peak_bf16_flops(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
