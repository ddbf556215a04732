"""Probe rows sorted for drawing."""

from __future__ import annotations

import pytest

from phenoscale.reports.probe_rows import ProbeTaskRows, choosing_row, probe_tasks
from phenoscale.schema.rows import read_rows
from tests.reports.conftest import Reported


@pytest.fixture(scope="module")
def tasks(reported: Reported) -> list[ProbeTaskRows]:
    return probe_tasks(read_rows(reported.outputs.probe))


def test_the_choosing_strength_comes_first(tasks: list[ProbeTaskRows]) -> None:
    assert [(task.task, task.strength) for task in tasks] == [("perturbation", 0.01), ("perturbation", 1.0)]


def test_curves_go_over_the_blocks_in_order(tasks: list[ProbeTaskRows]) -> None:
    curves = {curve.encoder: curve for curve in tasks[0].curves["embedding"]}
    assert curves["trained"].blocks == [0, 1, 2, 3, 4, 5]
    assert curves["pixel_statistics"].blocks == [0]
    assert curves["trained"].chosen_block == 4
    assert curves["trained"].shown.settings["block"] == 4


def test_chance_and_the_confounds_of_the_same_strength_stand_beside_the_curves(
    tasks: list[ProbeTaskRows],
) -> None:
    assert tasks[0].chance == pytest.approx(1 / 13)
    assert [task.confounds.value for task in tasks if task.confounds] == [0.11, 0.12]


def test_the_row_that_chose_the_block_is_found(reported: Reported) -> None:
    row = choosing_row(read_rows(reported.outputs.probe), encoder="trained")
    assert row is not None
    assert (row.settings["block"], row.settings["features"]) == (4, "embedding")
