"""The learning rate in closed form."""

import itertools
import math

import pytest

from phenoscale.training.schedule import learning_rate_at
from phenoscale.training.settings import ScheduleSettings


def test_rate_rises_linearly_to_the_peak_and_falls_along_half_a_cosine():
    schedule = ScheduleSettings(num_steps=100, warmup_fraction=0.1)
    rates = [learning_rate_at(step, peak=2.0, schedule=schedule) for step in range(100)]
    rises = [after - before for before, after in itertools.pairwise(rates[:11])]
    assert rises == pytest.approx([2.0 / 11] * 10)
    assert max(rates) == rates[10] == 2.0
    assert rates[55] == pytest.approx(2.0 * (1 + math.cos(math.pi / 2)) / 2)  # half way down
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[99] < 2.0 * (math.pi / 90) ** 2 / 4 * 1.01


def test_rate_would_be_zero_one_step_after_the_last():
    schedule = ScheduleSettings(num_steps=7, warmup_fraction=0.0)
    assert learning_rate_at(0, peak=1.0, schedule=schedule) == 1.0
    assert learning_rate_at(7, peak=1.0, schedule=schedule) == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_shortest_trainings_have_a_positive_rate_at_every_step(num_steps):
    schedule = ScheduleSettings(num_steps=num_steps, warmup_fraction=0.9)
    assert all(learning_rate_at(step, peak=1.0, schedule=schedule) > 0 for step in range(num_steps))
