"""A training's records as curves: against crops, time and FLOPs where known, against steps where not."""

from __future__ import annotations

from typing import Any

from phenoscale.reports.inputs import TrainingFacts
from phenoscale.reports.training_curves import loss_views, monitors


def _training(records: list[dict[str, float]], **summary: Any) -> TrainingFacts:
    return TrainingFacts(records=records, reconstructions=None, summary=summary, settings={}, encoder=None)


OLD = [{"step": 10 * i, "loss": 1.0 / i, "learning_rate": 0.1} for i in range(1, 5)]
NEW = [
    {
        **record,
        "crops": 64 * record["step"],
        "seconds": 60.0 * record["step"],
        "flops": 1e12 * record["step"],
        "mfu": 0.25,
        "loader_wait": 0.01,
        "memory_gb": 1.5,
        "crops_per_second": 200.0,
        "gradient_norm": 1.0,
    }
    for record in OLD
]


def test_an_old_record_is_drawn_against_steps_and_nothing_is_made_up() -> None:
    (view,) = loss_views(_training(OLD))
    assert (view.x_label, view.loss.x) == ("step", [10, 20, 30, 40])
    assert view.validation.x == []
    assert [monitor.title for monitor in monitors(_training(OLD))] == ["learning rate"]


def test_the_loss_is_drawn_against_crops_time_and_operations_in_units_that_suit() -> None:
    views = loss_views(_training(NEW))
    assert [view.x_label for view in views] == ["crops seen", "minutes", "TFLOP"]
    assert views[0].loss.x == [640, 1280, 1920, 2560]
    assert views[1].loss.x == [10, 20, 30, 40]
    assert views[2].loss.x == [10, 20, 30, 40]
    assert all(view.loss.values == [1.0, 0.5, 1 / 3, 0.25] for view in views)


def test_every_monitor_that_was_recorded_is_there() -> None:
    titles = {monitor.title for monitor in monitors(_training(NEW))}
    assert titles == {
        "learning rate",
        "crops per second",
        "share of the peak (MFU)",
        "waiting for the loader",
        "peak memory, GB",
        "gradient norm",
    }


def test_a_plateau_lies_at_the_same_step_on_every_axis() -> None:
    views = loss_views(_training(NEW, plateau_from_step=20, second_descent_step=35))
    assert [view.plateau_from for view in views] == [1280, 20, 20]
    assert [view.second_descent for view in views] == [2560, 40, 40]
    assert loss_views(_training(NEW))[0].plateau_from is None


def test_a_quantity_that_only_some_records_have_is_drawn_at_those() -> None:
    records = [dict(record) for record in NEW]
    records[1]["validation_loss"] = 0.6
    views = loss_views(_training(records))
    assert (views[0].validation.x, views[0].validation.values) == ([1280], [0.6])
