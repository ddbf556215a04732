"""Line plots: labels at the ends, intervals, level lines."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from phenoscale.reports.figures.lines import LinePlot, Reference, Series, draw_lines, spread_apart

PLOT = LinePlot(name="test", alt="test", x_label="block", y_label="accuracy", tick_labels=["0", "1", "2"])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_labels_are_spread_in_order_and_far_enough_apart(values: list[float]) -> None:
    placed = spread_apart(values, gap=0.1, low=0.0, high=1.0)
    order = np.argsort(values, kind="stable")
    steps = np.diff(np.array(placed)[order])
    assert (steps >= 0.1 - 1e-9).all()
    assert max(placed) <= 1 + 1e-9


def test_labels_that_do_not_collide_stay_where_they_are() -> None:
    assert spread_apart([0.9, 0.1, 0.5], gap=0.1, low=0.0, high=1.0) == [0.9, 0.1, 0.5]


def test_every_line_and_reference_is_named() -> None:
    series = [
        Series("trained", [0, 1, 2], [0.1, 0.3, 0.2], "#000000", [0, 0.2, None], [0.2, 0.4, None], marked=1),
        Series("pixels", [0], [0.15], "#ff0000", [0.1], [0.2], is_flat=True),
    ]
    svg = draw_lines(PLOT, series=series, references=[Reference("chance", 0.05)])
    for label in ("trained", "pixels", "chance", "block", "accuracy"):
        assert f">{label}</text>" in svg


def test_a_single_point_can_be_drawn() -> None:
    assert "<svg" in draw_lines(PLOT, series=[Series("only", [0], [0.4], "#000000")])
