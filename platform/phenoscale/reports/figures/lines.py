"""Lines with intervals over an ordered axis: accuracy over blocks, recall over map steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from phenoscale.reports.figures.canvas import direct_label, drawing
from phenoscale.reports.figures.palette import MUTED, PAPER
from phenoscale.reports.markup import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Series:
    """One line: points with 95 % intervals where they are known.

    Attributes:
        label: written at the line's end.
        x: positions.
        y: values.
        low: lower ends of the intervals, None without.
        high: upper ends.
        color: of line, points and label.
        marked: index of the point that was chosen, None when none was.
        is_flat: drawn over the whole width at the height of its only point.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    color: str
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    marked: int | None = None
    is_flat: bool = False


@dataclass(frozen=True)
class Reference:
    """A horizontal line to compare with: chance, a confound, an oracle."""

    label: str
    value: float
    color: str = MUTED
    style: str = "dashed"


@dataclass(frozen=True)
class LinePlot:
    """What a line plot shows besides its lines."""

    name: str
    alt: str
    x_label: str
    y_label: str
    tick_labels: Sequence[str] = ()
    width: float = 8.6
    height: float = 3.7
    y_from_zero: bool = True
    percent: bool = False


def draw_lines(plot: LinePlot, *, series: Sequence[Series], references: Sequence[Reference] = ()) -> Markup:
    """Draw the lines, each named at its end."""
    with drawing(width=plot.width, height=plot.height, name=plot.name, alt=plot.alt) as shown:
        axes = shown.figure.add_subplot()
        all_x = [x for line in series if not line.is_flat for x in line.x] or [0.0, 1.0]
        span = (min(all_x), max(all_x))
        ends = [_draw_series(axes, line, span=span) for line in series]
        for reference in references:
            axes.axhline(reference.value, color=reference.color, linestyle=reference.style, linewidth=1.2)
            ends.append((reference.value, reference.label, reference.color))
        _finish_axes(axes, plot, span=span)
        _label_ends(axes, ends, x=axes.get_xlim()[1], height=plot.height)
    return shown.svg


def _draw_series(axes: Axes, line: Series, *, span: tuple[float, float]) -> tuple[float, str, str]:
    x = list(span) if line.is_flat else list(line.x)
    y = [line.y[0]] * 2 if line.is_flat else list(line.y)
    low, high = (_ends(line.low, count=len(x)), _ends(line.high, count=len(x)))
    known = ~(np.isnan(low) | np.isnan(high))
    if known.any():
        axes.fill_between(x, low, high, where=known, color=line.color, alpha=0.13, linewidth=0)
    marker = "" if line.is_flat else "o"
    axes.plot(x, y, color=line.color, marker=marker, markersize=4.5, markeredgecolor=PAPER, zorder=3)
    if line.marked is not None:
        axes.plot(
            [line.x[line.marked]],
            [line.y[line.marked]],
            marker="o",
            markersize=10,
            markerfacecolor="none",
            markeredgecolor=line.color,
            markeredgewidth=1.8,
            zorder=4,
        )
    return (y[-1], line.label, line.color)


def _ends(values: Sequence[float | None], *, count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    if not values:
        return np.full(count, np.nan)
    numbers = [np.nan if value is None else float(value) for value in values]
    return np.array(numbers * count if len(numbers) == 1 else numbers)


def _finish_axes(axes: Axes, plot: LinePlot, *, span: tuple[float, float]) -> None:
    axes.set_xlabel(plot.x_label)
    axes.set_ylabel(plot.y_label)
    room = 0.04 * max(span[1] - span[0], 1e-9)
    axes.set_xlim(span[0] - room, span[1] + room)
    if plot.tick_labels:
        axes.set_xticks(range(len(plot.tick_labels)), list(plot.tick_labels))
    if plot.y_from_zero:
        axes.set_ylim(0, axes.get_ylim()[1] * 1.04)
    if plot.percent:
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.grid(visible=False, axis="x")


def _label_ends(axes: Axes, ends: Sequence[tuple[float, str, str]], *, x: float, height: float) -> None:
    """Write the names at the right edge, pushed apart where they would overlap."""
    low, high = axes.get_ylim()
    gap = 0.16 * (high - low) / max(height - 0.8, 1.0)
    placed = spread_apart([value for value, _, _ in ends], gap=gap, low=low, high=high)
    for (_, label, color), y in zip(ends, placed, strict=True):
        direct_label(axes, (x, y), text=label, color=color)


def spread_apart(values: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """Move values apart to at least `gap`, as little as a sweep up and a sweep down can."""
    order = sorted(range(len(values)), key=lambda index: values[index])
    places = [min(max(value, low), high) for value in values]
    for previous, current in pairwise(order):
        places[current] = max(places[current], places[previous] + gap)
    if order and places[order[-1]] > high:
        places[order[-1]] = high
        for current, following in zip(reversed(order[:-1]), reversed(order), strict=False):
            places[current] = min(places[current], places[following] - gap)
    return places
