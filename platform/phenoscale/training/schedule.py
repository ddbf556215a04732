"""Learning rate and momentum as pure functions of the step. science.md 1.6.

`cosine` with a linear warm-up and fixed betas is what the paper says; `one_cycle_released` is what the
released configuration does: torch's OneCycleLR(pct_start=.1, anneal_strategy="cos"), which rises along a
cosine, starts at peak / 25, ends at peak / 250,000 and, unasked, moves the first beta from .95 to .85 and
back.
"""

from __future__ import annotations

import math

from phenoscale.training.settings import ScheduleSettings

FIRST_DIVISOR, LAST_DIVISOR = 25.0, 25e4  # OneCycleLR's: rates of the first and the last step
LARGEST_MOMENTUM, SMALLEST_MOMENTUM = 0.95, 0.85


def num_warmup_steps(schedule: ScheduleSettings) -> int:
    """Steps of the warm-up."""
    return int(schedule.num_steps * schedule.warmup_fraction)


def learning_rate_at(step: int, *, peak: float, schedule: ScheduleSettings) -> float:
    """The learning rate of the update number `step`, counted from 0.

    With W warm-up steps of T, x = (step + 1) / (W + 1) before step W gives peak * x (linear) or peak * (1 -
    cos(pi * x)) / 2 (cosine). Then, with z = (step - W) / (T - W), `cosine` gives peak * (1 + cos(pi * z))
    / 2, which is the peak at step W and would be 0 at step T; `cyclic_cosine` the same of the fractional
    part of num_cycles * z (SGDR, arXiv 1608.03983, with cycles of equal length).
    """
    if schedule.shape == "one_cycle_released":
        first, last = peak / FIRST_DIVISOR, peak / LAST_DIVISOR
        return _one_cycle(step, schedule=schedule, first=first, middle=peak, last=last)
    warmup = num_warmup_steps(schedule)
    if step < warmup:
        risen = (step + 1) / (warmup + 1)
        return peak * (risen if schedule.warmup == "linear" else 0.5 * (1.0 - math.cos(math.pi * risen)))
    if schedule.shape == "constant":
        return peak
    done, length = step - warmup, schedule.num_steps - warmup
    if schedule.shape == "cyclic_cosine":
        done = schedule.num_cycles * done % length
    return peak * 0.5 * (1.0 + math.cos(math.pi * min(done / length, 1.0)))


def momentum_at(step: int, *, schedule: ScheduleSettings) -> float | None:
    """The first beta, or SGD's momentum, of the update number `step`; None where it stays as it is."""
    if schedule.shape != "one_cycle_released":
        return None
    return _one_cycle(
        step, schedule=schedule, first=LARGEST_MOMENTUM, middle=SMALLEST_MOMENTUM, last=LARGEST_MOMENTUM
    )


def _one_cycle(step: int, *, schedule: ScheduleSettings, first: float, middle: float, last: float) -> float:
    """Along half a cosine from `first` to `middle`, then along another one to `last`, at step T - 1.

    The middle lies at warmup_fraction * T - 1, as in torch: not at a whole step, and before the first step
    if the training is short.
    """
    turn, end = schedule.warmup_fraction * schedule.num_steps - 1, schedule.num_steps - 1
    if step <= turn:
        return _along_cosine(first, middle, progress=step / turn if turn > 0 else 1.0)
    return _along_cosine(middle, last, progress=(step - turn) / (end - turn))


def _along_cosine(start: float, end: float, *, progress: float) -> float:
    return end + (start - end) / 2.0 * (1.0 + math.cos(math.pi * progress))
