"""Horizontal points with 95 % intervals: one number per encoder, beside chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from phenoscale.reports.figures.canvas import drawing
from phenoscale.reports.figures.lines import Reference
from phenoscale.reports.figures.palette import PAPER, encoder_color
from phenoscale.reports.markup import Markup


@dataclass(frozen=True)
class Point:
    """One number with its interval.

    Attributes:
        label: written at the left.
        encoder: whose number it is; decides the color.
        is_open: drawn as an open point: before rather than after correction.
    """

    label: str
    encoder: str
    value: float
    low: float | None = None
    high: float | None = None
    is_open: bool = False


def draw_points(
    points: Sequence[Point], *, references: Sequence[Reference] = (), x_label: str, name: str, alt: str
) -> Markup:
    """Draw the points from top to bottom, each with its value written beside it."""
    with drawing(width=8.6, height=0.36 * len(points) + 0.95, name=name, alt=alt) as shown:
        axes = shown.figure.add_subplot()
        for index, point in enumerate(points):
            y, color = len(points) - 1 - index, encoder_color(point.encoder, position=index)
            if point.low is not None and point.high is not None:
                axes.plot([point.low, point.high], [y, y], color=color, linewidth=2.2, alpha=0.55)
            face = PAPER if point.is_open else color
            axes.plot([point.value], [y], "o", color=face, markeredgecolor=color, markersize=7.5, mew=1.8)
            end = point.high if point.high is not None else point.value
            axes.annotate(
                f"{point.value:.3f}",
                (max(end, point.value), y),
                xytext=(9, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
                color=color,
            )
        for reference in references:
            axes.axvline(reference.value, color=reference.color, linestyle=reference.style, linewidth=1.2)
            axes.annotate(
                reference.label,
                (reference.value, len(points) - 0.5),
                xytext=(3, 1),
                textcoords="offset points",
                fontsize=8.5,
                color=reference.color,
            )
        axes.set_yticks(range(len(points)), [point.label for point in reversed(points)])
        axes.set_ylim(-0.6, len(points) - 0.1)
        axes.set_xlim(left=0)
        axes.margins(x=0.12)
        axes.set_xlabel(x_label)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
    return shown.svg
