"""The curves of a training."""

from __future__ import annotations

import numpy as np

from phenoscale.reports.figures.training import Curve, LossView, Monitor, draw_training, smoothed


def test_smoothing_keeps_a_straight_fall_and_is_steady_at_the_end() -> None:
    line = np.linspace(3, 1, 200)
    np.testing.assert_allclose(smoothed(line.tolist())[:190], line[:190])
    noisy = np.random.default_rng(0).standard_normal(300)
    assert smoothed(noisy.tolist())[0] == noisy[0]
    np.testing.assert_allclose(smoothed(noisy.tolist())[-1], noisy[-11:].mean())
    assert smoothed(noisy.tolist()).std() < 0.5 * noisy.std()


def test_smoothing_equals_the_mean_of_a_window_in_the_middle() -> None:
    values = np.random.default_rng(1).standard_normal(90)
    np.testing.assert_allclose(smoothed(values.tolist())[45], values[42:49].mean())


def test_a_training_without_validation_or_throughput_can_be_drawn() -> None:
    curve = Curve([1, 2, 3], [3.0, 2.0, 1.0])
    svg = _drawn([LossView("step", curve, Curve([], []))], monitors=[Monitor("learning rate", curve)])
    assert ">learning rate</text>" in svg
    assert ">validation</text>" not in svg
    assert ">plateau</text>" not in svg


def test_every_view_of_the_loss_and_every_monitor_has_its_axes() -> None:
    curve = Curve([1, 2, 3], [3.0, 2.0, 1.0])
    views = [LossView(label, curve, curve) for label in ("crops seen", "minutes", "PFLOP")]
    svg = _drawn(views, monitors=[Monitor(f"monitor {index}", curve) for index in range(5)])
    for words in ("crops seen", "the loss against minutes", "the loss against PFLOP", "monitor 4"):
        assert f">{words}</text>" in svg


def test_a_plateau_and_what_came_after_it_are_named() -> None:
    curve = Curve([1, 2, 3, 4], [3.0, 2.0, 2.0, 1.0])
    assert ">plateau</text>" in _drawn([LossView("step", curve, curve, plateau_from=2)])
    both = _drawn([LossView("step", curve, curve, plateau_from=2, second_descent=4)])
    assert ">second descent</text>" in both


def _drawn(views: list[LossView], *, monitors: list[Monitor] | None = None) -> str:
    return draw_training(views, monitors=monitors or [], y_label="the loss", name="drawn", alt="curves")
