"""Scaling on the page: each encoder at its place on each axis that is known, and no line from one point."""

from __future__ import annotations

from dataclasses import replace

import pytest

from phenoscale.reports.inputs import ReportInputs
from phenoscale.reports.sections.scaling import scaling_part, scaling_points
from tests.reports.test_families import INPUTS, _probe, _recall, _training

_SIZES = {"mae": 1, "mu_net": 2, "wsl": 3}
_THREE = ReportInputs(
    trainings={
        name: _training(num_training_crops=10**size, flops=1e12 * 100**size, paper_gflops_per_crop=7.0)
        for name, size in _SIZES.items()
    },
    num_parameters={name: 50 for name in _SIZES} | {"pixel_statistics": 0},
    probe_rows=[_probe(name, 0, 0.1 * size, chosen=True) for name, size in _SIZES.items()],
    rows=[_recall(name, "final", 0.2 + 0.1 * size) for name, size in _SIZES.items()],
)


def test_a_point_knows_what_the_encoder_took() -> None:
    points = {(point.encoder, point.measured.metric): point for point in scaling_points(_THREE)}
    point = points["wsl", "recall"]
    assert (point.crops, point.flops_exact, point.parameters) == (1000, 1e18, 50)
    assert point.flops_paper == 1000 * 7e9
    assert point.measured.value == 0.2 + 0.1 * 3
    assert points["mae", "balanced_accuracy"].measured.value == pytest.approx(0.1)


def test_every_metric_is_drawn_along_every_axis_on_which_encoders_differ() -> None:
    drawn = scaling_part(_THREE)
    assert drawn is not None
    assert drawn.count("<figure>") == 2
    assert drawn.count("R² 1.00") == 6  # crops and two counts of operations; all have the same parameters
    body = drawn.partition("<tbody>")[2]
    assert body.count("<tr>") == 6
    assert "+0.100" in body and "encoder parameters" not in body


def test_two_encoders_are_drawn_without_a_claim_about_their_trend() -> None:
    drawn = scaling_part(INPUTS)
    assert drawn is not None
    assert "R²" not in drawn and "<tbody>" not in drawn


def test_encoders_of_the_same_cost_have_no_scaling() -> None:
    same = _training(num_training_crops=10)
    alike = replace(_THREE, trainings=dict.fromkeys(_SIZES, same))
    assert scaling_part(alike) is None
