"""Interactive plots."""

from __future__ import annotations

import json
import re

import numpy as np

from phenoscale.reports.figures.interactive import MapPoints, draw_heatmap, draw_map, natural
from phenoscale.reports.figures.palette import group_style


def test_groups_are_sorted_as_people_count() -> None:
    names = ["module 10", "module 2", "kinase", "module 1"]
    assert sorted(names, key=natural) == ["kinase", "module 1", "module 2", "module 10"]


def test_sixty_groups_look_different() -> None:
    assert len({group_style(index) for index in range(60)}) == 60


def test_the_map_has_one_trace_per_group_and_a_button_per_layout() -> None:
    rng = np.random.default_rng(0)
    points = MapPoints(
        names=[f"G{i}" for i in range(6)],
        groups=["b", "a", "", "a", "b", ""],
        hover=["x"] * 6,
        layouts={"first": rng.random((6, 2)), "second": rng.random((6, 2))},
    )
    html = draw_map(points)
    assert html.count('"mode":"markers"') == 3
    assert '"label":"first"' in html
    assert '"label":"second"' in html
    assert "plotly.js" not in html


def test_the_heatmap_keeps_order_and_two_digits() -> None:
    cosines = np.array([[1.0, 0.123456], [0.123456, 1.0]])
    html = draw_heatmap(cosines, names=["A", "B"], groups=["m", ""])
    values = re.search(r'"z":(\[\[.*?\]\])', html)
    assert values is not None
    assert json.loads(values[1]) == [[1.0, 0.12], [0.12, 1.0]]
    assert '"A (m)"' in html
