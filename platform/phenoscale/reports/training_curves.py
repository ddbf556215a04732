"""A training's records sorted into what is drawn: the loss against crops, time and FLOPs, and the monitors.

A record says the step, the loss and what else was measured there; older trainings recorded less.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from phenoscale.reports.figures.training import Curve, LossView, Monitor
from phenoscale.reports.inputs import TrainingFacts

Record = Mapping[str, float]

_TIMES: Final = (("seconds", 1.0), ("minutes", 60.0), ("hours", 3600.0))
_OPERATIONS: Final = (("GFLOP", 1e9), ("TFLOP", 1e12), ("PFLOP", 1e15), ("EFLOP", 1e18), ("ZFLOP", 1e21))
_MONITORS: Final = (
    ("learning_rate", "learning rate", False),
    ("accuracy", "accuracy, training", True),
    ("validation_accuracy", "accuracy, validation", True),
    ("crops_per_second", "crops per second", False),
    ("mfu", "share of the peak (MFU)", True),
    ("loader_wait", "waiting for the loader", True),
    ("memory_gb", "peak memory, GB", False),
    ("gradient_norm", "gradient norm", False),
)


@dataclass(frozen=True)
class _Axis:
    """One measure of how far a training has come."""

    label: str
    of: Callable[[Record], float | None]


def loss_views(training: TrainingFacts) -> list[LossView]:
    """The loss against crops (steps, where crops are not recorded), and against time and FLOPs if known."""
    records = training.records
    axes = [
        _crops(records),
        _scaled(records, "seconds", units=_TIMES),
        _scaled(records, "flops", units=_OPERATIONS),
    ]
    return [_view(training, axis) for axis in axes if axis is not None]


def monitors(training: TrainingFacts) -> list[Monitor]:
    """Every other quantity that was recorded, against crops (steps, where crops are not recorded)."""
    axis = _crops(training.records)
    found = [
        Monitor(title, curve(training.records, name, axis=axis.of), is_share)
        for name, title, is_share in _MONITORS
    ]
    return [monitor for monitor in found if monitor.curve.x]


def curve(records: Sequence[Record], name: str, *, axis: Callable[[Record], float | None]) -> Curve:
    """One quantity at the records that have it."""
    known = [(axis(record), record[name]) for record in records if record.get(name) is not None]
    return Curve(
        x=[place for place, _ in known if place is not None],
        values=[float(value) for place, value in known if place is not None],
    )


def _crops(records: Sequence[Record]) -> _Axis:
    if any("crops" in record for record in records):
        return _Axis("crops seen", lambda record: record.get("crops"))
    return _Axis("step", lambda record: record.get("step"))


def _scaled(records: Sequence[Record], name: str, *, units: Sequence[tuple[str, float]]) -> _Axis | None:
    """A measure in the largest unit of which the whole training has at least two."""
    largest = max((record[name] for record in records if name in record), default=0.0)
    if largest <= 0:
        return None
    unit, size = max((unit for unit in units if largest >= 2 * unit[1]), key=_size, default=units[0])
    return _Axis(unit, lambda record: record[name] / size if name in record else None)


def _size(unit: tuple[str, float]) -> float:
    return unit[1]


def _view(training: TrainingFacts, axis: _Axis) -> LossView:
    def place(step: float | None) -> float | None:
        """Where a step lies on this axis: at its record, or the first one after it."""
        if step is None:
            return None
        return next((axis.of(record) for record in training.records if record["step"] >= step), None)

    return LossView(
        x_label=axis.label,
        loss=curve(training.records, "loss", axis=axis.of),
        validation=curve(training.records, "validation_loss", axis=axis.of),
        plateau_from=place(training.summary.get("plateau_from_step")),
        second_descent=place(training.summary.get("second_descent_step")),
    )
