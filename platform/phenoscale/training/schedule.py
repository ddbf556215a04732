"""The learning rate as a pure function of the step: linear warm-up, half a cosine to zero. science.md 1.6."""

from __future__ import annotations

import math

from phenoscale.training.settings import ScheduleSettings


def num_warmup_steps(schedule: ScheduleSettings) -> int:
    """Steps of the linear warm-up."""
    return int(schedule.num_steps * schedule.warmup_fraction)


def learning_rate_at(step: int, *, peak: float, schedule: ScheduleSettings) -> float:
    """The learning rate of the update number `step`, counted from 0.

    With W warm-up steps of T: peak * (step + 1) / (W + 1) before step W, then
    peak * (1 + cos(pi * (step - W) / (T - W))) / 2, which is the peak at step W and would be 0 at step T.
    """
    warmup = num_warmup_steps(schedule)
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    progress = (step - warmup) / (schedule.num_steps - warmup)
    return peak * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))
