"""The curves of a training: its loss against crops, time and FLOPs, and what the monitors saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from phenoscale.reports.figures.canvas import drawing
from phenoscale.reports.figures.palette import ACCENT, BAD, GOOD, MUTED
from phenoscale.reports.markup import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_POINTS = 600
_COLUMNS: Final = 3
_FEW: Final = 12


@dataclass(frozen=True)
class Curve:
    """Values of one quantity at the places (steps, crops, seconds) where it was measured."""

    x: Sequence[float]
    values: Sequence[float]


@dataclass(frozen=True)
class LossView:
    """The loss against one measure of how far the training has come.

    Attributes:
        x_label: the measure with its unit.
        loss: of the training, one value a record.
        validation: of held-out crops.
        plateau_from: where the loss first stood still, None where it did not.
        second_descent: where it fell again, None where it did not.
    """

    x_label: str
    loss: Curve
    validation: Curve
    plateau_from: float | None = None
    second_descent: float | None = None


@dataclass(frozen=True)
class Monitor:
    """One more quantity that was recorded, drawn small."""

    title: str
    curve: Curve
    is_share: bool = False


def draw_training(
    views: Sequence[LossView], *, monitors: Sequence[Monitor], y_label: str, name: str, alt: str
) -> Markup:
    """Draw the first view of the loss large, and its other views and the monitors small below it.

    Args:
        views: the loss against at least one measure.
        monitors: against the measure of the first view.
        y_label: which loss it is.
        name: different for each figure of the page.
        alt: what the figure shows, for readers who do not see it.
    """
    num_small = len(views) - 1 + len(monitors)
    lines = -(-num_small // _COLUMNS)
    with drawing(width=8.6, height=3.4 + 1.3 * lines, name=name, alt=alt) as shown:
        grid = shown.figure.add_gridspec(1 + lines, _COLUMNS, height_ratios=[3, *[1.15] * lines])
        large = shown.figure.add_subplot(grid[0, :])
        _draw_loss(large, views[0])
        large.set_xlabel(views[0].x_label)
        large.set_ylabel(y_label)
        large.legend(loc="best")
        cells = [shown.figure.add_subplot(grid[1 + i // _COLUMNS, i % _COLUMNS]) for i in range(num_small)]
        for axes, view in zip(cells, views[1:], strict=False):
            _draw_loss(axes, view)
            axes.set_title(f"{y_label} against {view.x_label}", fontsize=9, fontweight="normal")
            axes.locator_params(axis="y", nbins=3)
        for axes, monitor in zip(cells[len(views) - 1 :], monitors, strict=True):
            _draw_monitor(axes, monitor, x_label=views[0].x_label)
    return shown.svg


def _draw_loss(axes: Axes, view: LossView) -> None:
    loss, validation = view.loss, view.validation
    axes.plot(*_thin(loss), color=ACCENT, alpha=0.25, linewidth=1.0, label="training, each record")
    smooth = Curve(loss.x, smoothed(loss.values).tolist())
    axes.plot(*_thin(smooth), color=ACCENT, label="training, smoothed")
    if validation.x:
        axes.plot(
            list(validation.x),
            list(validation.values),
            color=BAD,
            marker="o",
            markersize=4.5,
            linewidth=1.2,
            label="validation",
        )
    if view.plateau_from is not None:
        end = view.second_descent if view.second_descent is not None else max(loss.x)
        axes.axvspan(view.plateau_from, end, color=MUTED, alpha=0.12, linewidth=0, label="plateau")
    if view.second_descent is not None:
        axes.axvline(view.second_descent, color=GOOD, linestyle="dashed", label="second descent")
    # The first steps are far above the rest and would flatten the part that matters.
    later = [*list(loss.values)[len(loss.values) // 20 :], *validation.values]
    if later:
        low, high = float(np.min(later)), float(np.max(later))
        axes.set_ylim(low - 0.06 * (high - low), high + 0.10 * (high - low) + 1e-9)


def _draw_monitor(axes: Axes, monitor: Monitor, *, x_label: str) -> None:
    # so few points that a line may not show them
    marker = "." if len(monitor.curve.x) <= _FEW else ""
    axes.plot(*_thin(monitor.curve), color=MUTED, linewidth=1.3, marker=marker)
    axes.set_title(monitor.title, fontsize=9, fontweight="normal")
    axes.set_xlabel(x_label, fontsize=8.5)
    axes.set_ylim(0, 1.12 * max(*monitor.curve.values, 1e-12))
    axes.locator_params(axis="y", nbins=3)
    axes.locator_params(axis="x", nbins=4)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 100 else f"{value:.3g}")
    if monitor.is_share:
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")


def smoothed(values: Sequence[float]) -> npt.NDArray[np.float64]:
    """A centered moving average over a fifteenth of the curve.

    At the start, where a loss falls fast, the window shrinks; at the end it keeps what it has behind it.
    """
    reach = len(values) // 30
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    left = np.minimum(reach, index)
    right = np.minimum(left, len(values) - 1 - index)
    smooth: npt.NDArray[np.float64] = (sums[index + right + 1] - sums[index - left]) / (left + right + 1)
    return smooth


def _thin(curve: Curve) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """At most MAX_POINTS points, evenly chosen, so that a long training does not make a large page."""
    x, values = np.asarray(curve.x, dtype=float), np.asarray(curve.values, dtype=float)
    if len(x) <= MAX_POINTS:
        return x, values
    chosen = np.unique(np.linspace(0, len(x) - 1, MAX_POINTS).round().astype(int))
    return x[chosen], values[chosen]
