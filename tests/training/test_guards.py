"""Callbacks that watch a training."""

import logging

from phenoscale.logs import keep_last_lines
from phenoscale.training.guards import (
    DivergenceGuard,
    EarlyStop,
    PlateauMonitor,
    Verdict,
    ask,
    build_guards,
    describe_descent,
)
from phenoscale.training.settings import GuardSettings


def see_losses(callback, losses):
    return [callback.see({"step": step, "loss": loss}) for step, loss in enumerate(losses, start=1)]


def test_divergence_guard_stops_a_loss_that_rises_far_above_its_lowest_value():
    falling, rising = [1.0 / (1 + n / 20) for n in range(100)], [0.2 * 1.3**n for n in range(30)]
    verdicts = see_losses(DivergenceGuard(factor=4.0), falling + rising)
    assert set(verdicts[:100]) == {Verdict.CONTINUE}
    assert Verdict.DIVERGED in verdicts[100:]


def test_divergence_guard_forgives_a_single_outlier():
    losses = [1.0] * 50 + [20.0] + [1.0] * 50
    assert set(see_losses(DivergenceGuard(factor=4.0), losses)) == {Verdict.CONTINUE}


def test_plateau_monitor_tells_plateau_and_second_descent():
    steep = [1.0 - 0.02 * n for n in range(30)]
    flat, second = [0.4] * 120, [0.4 - 0.01 * n for n in range(30)]
    logging.getLogger("phenoscale").setLevel(logging.INFO)
    with keep_last_lines() as lines:
        verdicts = see_losses(PlateauMonitor(num_records=20), steep + flat + second)
    assert set(verdicts) == {Verdict.CONTINUE}
    events = [line for line in lines if "event=" in line]
    assert len(events) == 2
    assert "event=plateau" in events[0]
    assert 'event="descent after a plateau"' in events[1]


def test_summary_names_where_the_loss_stood_still_and_where_it_fell_again():
    steep, flat, second = (
        [1.0 - 0.02 * n for n in range(30)],
        [0.4] * 300,
        [0.4 - 0.01 * n for n in range(30)],
    )
    records = [{"step": 10 * n, "loss": loss} for n, loss in enumerate(steep + flat + second, start=1)]
    found = describe_descent(records, num_records=20)
    # what smoothing has left of the descent, .18 * .9^n, is below .1 % of the loss some 60 records after it
    assert 900 < found["plateau_from_step"] < 1100
    assert 3300 < found["second_descent_step"] < 3400
    assert describe_descent(records[:30], num_records=20) == dict.fromkeys(found)
    assert describe_descent(records[:300], num_records=20) == {**found, "second_descent_step": None}
    assert describe_descent(records, num_records=0) == dict.fromkeys(found)


def test_early_stop_waits_for_its_patience_and_looks_at_validation_only():
    stop = EarlyStop(patience=2)
    losses = [3.0, 2.0, None, 2.5, None, 1.9, 2.0, 2.1]
    verdicts = [
        stop.see({"loss": 0.0} | ({} if loss is None else {"validation_loss": loss})) for loss in losses
    ]
    assert verdicts == [Verdict.CONTINUE] * 7 + [Verdict.STOP]


def test_largest_verdict_counts_and_every_callback_sees_the_record():
    class Says:
        def __init__(self, verdict):
            self.verdict, self.seen = verdict, 0

        def see(self, record):
            self.seen += 1
            return self.verdict

    callbacks = [Says(Verdict.STOP), Says(Verdict.CONTINUE), Says(Verdict.SAVE)]
    assert ask(callbacks, {"step": 1}) is Verdict.STOP
    assert [callback.seen for callback in callbacks] == [1, 1, 1]
    assert ask([], {"step": 1}) is Verdict.CONTINUE


def test_guards_follow_the_settings():
    assert [type(guard) for guard in build_guards(GuardSettings(plateau_records=0))] == [DivergenceGuard]
    every = build_guards(GuardSettings(early_stop_patience=3))
    assert [type(guard) for guard in every] == [DivergenceGuard, PlateauMonitor, EarlyStop]
