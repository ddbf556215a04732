"""The course of a training: loss, learning rate and throughput."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from phenoscale.reports.figures.canvas import drawing
from phenoscale.reports.figures.palette import ACCENT, BAD, MUTED
from phenoscale.reports.markup import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_POINTS = 600


@dataclass(frozen=True)
class Curve:
    """Values of one quantity at the steps where it was measured."""

    steps: Sequence[float]
    values: Sequence[float]


def draw_training(
    *, loss: Curve, validation: Curve, learning_rate: Curve, throughput: Curve | None = None
) -> Markup:
    """Draw the loss large, and learning rate and throughput small below it."""
    small = [("learning rate", learning_rate)] + ([("crops per second", throughput)] if throughput else [])
    alt = "Training and validation loss against the optimizer step"
    with drawing(width=8.6, height=4.6, name="training", alt=alt) as shown:
        grid = shown.figure.add_gridspec(2, len(small), height_ratios=[3, 1.15])
        _draw_loss(shown.figure.add_subplot(grid[0, :]), loss=loss, validation=validation)
        for index, (label, curve) in enumerate(small):
            axes = shown.figure.add_subplot(grid[1, index])
            axes.plot(*_thin(curve), color=MUTED, linewidth=1.3)
            axes.set_title(label, fontsize=9, fontweight="normal")
            axes.set_xlabel("step")
            axes.set_ylim(bottom=0)
            axes.locator_params(axis="y", nbins=3)
    return shown.svg


def _draw_loss(axes: Axes, *, loss: Curve, validation: Curve) -> None:
    axes.plot(*_thin(loss), color=ACCENT, alpha=0.25, linewidth=1.0, label="training, each record")
    smooth = Curve(loss.steps, smoothed(loss.values).tolist())
    axes.plot(*_thin(smooth), color=ACCENT, label="training, smoothed")
    if validation.steps:
        axes.plot(
            list(validation.steps),
            list(validation.values),
            color=BAD,
            marker="o",
            markersize=4.5,
            linewidth=1.2,
            label="validation",
        )
    axes.set_ylabel("reconstruction loss")
    axes.legend(loc="best")
    # The first steps are far above the rest and would flatten the part that matters.
    later = [*list(loss.values)[len(loss.values) // 20 :], *validation.values]
    if later:
        low, high = float(np.min(later)), float(np.max(later))
        axes.set_ylim(low - 0.06 * (high - low), high + 0.10 * (high - low) + 1e-9)


def smoothed(values: Sequence[float]) -> npt.NDArray[np.float64]:
    """A centered moving average over a fifteenth of the course.

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
    steps, values = np.asarray(curve.steps, dtype=float), np.asarray(curve.values, dtype=float)
    if len(steps) <= MAX_POINTS:
        return steps, values
    chosen = np.unique(np.linspace(0, len(steps) - 1, MAX_POINTS).round().astype(int))
    return steps[chosen], values[chosen]
