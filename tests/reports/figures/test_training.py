"""The course of a training."""

from __future__ import annotations

import numpy as np

from phenoscale.reports.figures.training import Curve, draw_training, smoothed


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
    svg = draw_training(loss=curve, validation=Curve([], []), learning_rate=curve)
    assert ">learning rate</text>" in svg
    assert ">crops per second</text>" not in svg
