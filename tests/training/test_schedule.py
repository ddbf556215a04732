"""The learning rate in closed form, and as torch's own schedulers give it."""

import itertools
import math

import pytest
import torch

from phenoscale.training.optimizer import build_optimizer, follow_schedule
from phenoscale.training.schedule import learning_rate_at, momentum_at
from phenoscale.training.settings import OptimizerSettings, ScheduleSettings
from tests.support.pretraining import tiny_settings


def rates_of(schedule, *, peak=2.0):
    return [learning_rate_at(step, peak=peak, schedule=schedule) for step in range(schedule.num_steps)]


def test_rate_rises_linearly_to_the_peak_and_falls_along_half_a_cosine():
    rates = rates_of(ScheduleSettings(num_steps=100, warmup_fraction=0.1))
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


def test_warmup_along_a_cosine_starts_and_ends_flat_with_the_same_peak():
    rates = rates_of(ScheduleSettings(num_steps=100, warmup="cosine", warmup_fraction=0.2))
    assert rates[20] == 2.0
    assert rates[:20] == pytest.approx([2.0 * math.sin(math.pi / 2 * (n + 1) / 21) ** 2 for n in range(20)])
    assert rates[20:] == rates_of(ScheduleSettings(num_steps=100, warmup_fraction=0.2))[20:]


def test_constant_rate_stays_at_the_peak_after_the_warmup():
    rates = rates_of(ScheduleSettings(num_steps=10, shape="constant", warmup_fraction=0.3))
    assert rates == pytest.approx([0.5, 1.0, 1.5] + [2.0] * 7)


@pytest.mark.parametrize("num_cycles", [1, 3, 5])
def test_cyclic_cosine_equals_torch_s_warm_restarts(num_cycles):
    schedule = ScheduleSettings(
        num_steps=60, shape="cyclic_cosine", num_cycles=num_cycles, warmup_fraction=0.0
    )
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    restarts = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=60 // num_cycles)
    expected = []
    for _ in range(60):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        restarts.step()
    assert rates_of(schedule) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("num_steps", [2, 3, 37, 200])
@pytest.mark.parametrize(("name", "momentum"), [("lion", 0.0), ("adamw", 0.0), ("sgd", 0.9)])
def test_released_schedule_sets_what_torch_s_one_cycle_sets(num_steps, name, momentum):
    weight = torch.nn.Parameter(torch.zeros(2, 2))
    twin = torch.optim.SGD if name == "sgd" else torch.optim.AdamW
    reference = twin([weight], lr=1.0, **({"momentum": momentum} if name == "sgd" else {}))
    one_cycle = torch.optim.lr_scheduler.OneCycleLR(
        reference, max_lr=3e-4, total_steps=num_steps, pct_start=0.1, anneal_strategy="cos"
    )
    optimizer_settings = OptimizerSettings(name=name, learning_rate=3e-4, momentum=momentum)
    settings = tiny_settings(
        schedule=ScheduleSettings(num_steps=num_steps, shape="one_cycle_released"),
        optimizer_settings=optimizer_settings,
    )
    layer = torch.nn.Linear(2, 2)
    optimizer = build_optimizer(layer, settings=optimizer_settings)
    for step in range(num_steps):
        follow_schedule(optimizer, step=step, settings=settings)
        expected = reference.param_groups[0]
        for group in optimizer.param_groups:
            assert group["lr"] == pytest.approx(expected["lr"], rel=1e-12)
            if name == "sgd":
                assert group["momentum"] == pytest.approx(expected["momentum"], rel=1e-12)
            else:
                assert group["betas"][0] == pytest.approx(expected["betas"][0], rel=1e-12)
                assert group["betas"][1] == 0.95
        reference.step()
        if step < num_steps - 1:
            one_cycle.step()
    ends = [learning_rate_at(step, peak=1.0, schedule=settings.schedule) for step in (0, num_steps - 1)]
    if num_steps > 10:
        assert ends == pytest.approx([1 / 25, 1 / 25e4])


def test_other_schedules_leave_the_momentum_alone():
    for shape in ("cosine", "cyclic_cosine", "constant"):
        schedule = ScheduleSettings(num_steps=20, shape=shape)
        assert all(momentum_at(step, schedule=schedule) is None for step in range(20))


@pytest.mark.parametrize("shape", ["cosine", "one_cycle_released", "cyclic_cosine", "constant"])
@pytest.mark.parametrize("warmup_fraction", [0.0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("num_steps", [1, 2, 3, 10])
def test_shortest_trainings_have_a_positive_rate_at_every_step(num_steps, warmup_fraction, shape):
    schedule = ScheduleSettings(num_steps=num_steps, shape=shape, warmup_fraction=warmup_fraction)
    assert all(0 < rate <= 2.0 for rate in rates_of(schedule))
