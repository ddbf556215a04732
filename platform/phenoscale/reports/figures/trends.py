"""A metric against what an encoder took, on a logarithmic axis: one panel per axis, with the fitted line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phenoscale.reports.figures.canvas import drawing
from phenoscale.reports.figures.palette import INK, MUTED, PAPER, encoder_color, encoder_label
from phenoscale.reports.markup import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class TrendPoint:
    """One encoder in a panel."""

    encoder: str
    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Trend:
    """One panel.

    Attributes:
        x_label: what the axis is.
        points: of the encoders.
        ends: of the fitted line, ((x, y), (x, y)); None without one.
        note: written under the panel's title, such as R^2.
    """

    x_label: str
    points: Sequence[TrendPoint]
    ends: tuple[tuple[float, float], tuple[float, float]] | None = None
    note: str = ""


def draw_trends(trends: Sequence[Trend], *, y_label: str, name: str, alt: str) -> Markup:
    """Draw the panels in rows of two, every point named."""
    columns = min(len(trends), 2)
    lines = -(-len(trends) // columns)
    with drawing(width=8.6, height=3.1 * lines, name=name, alt=alt) as shown:
        for index, trend in enumerate(trends):
            axes = shown.figure.add_subplot(lines, columns, index + 1)
            _draw(axes, trend)
            if index % columns == 0:
                axes.set_ylabel(y_label)
    return shown.svg


def _draw(axes: Axes, trend: Trend) -> None:
    axes.set_xscale("log")
    if trend.ends is not None:
        (x0, y0), (x1, y1) = trend.ends
        axes.plot([x0, x1], [y0, y1], color=MUTED, linestyle="dashed", linewidth=1.2, zorder=1)
    for position, point in enumerate(trend.points):
        color = encoder_color(point.encoder, position=position)
        if point.low is not None and point.high is not None:
            axes.plot([point.x] * 2, [point.low, point.high], color=color, linewidth=2, alpha=0.5)
        axes.plot([point.x], [point.y], "o", color=color, markeredgecolor=PAPER, markersize=7, zorder=3)
        axes.annotate(
            encoder_label(point.encoder),
            (point.x, point.y),
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
            fontsize=8.5,
            color=color,
        )
    axes.set_xlabel(trend.x_label)
    axes.set_title(trend.note, color=INK, fontsize=9, fontweight="normal")
    axes.margins(x=0.18, y=0.22)
