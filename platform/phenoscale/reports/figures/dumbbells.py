"""Before and after, side by side: how well a nuisance can be read off, per encoder, with chance."""

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
class Change:
    """One quantity of one encoder before and after correction."""

    panel: str
    encoder: str
    before: float
    after: float
    chance: float | None = None


def draw_changes(changes: Sequence[Change], *, x_label: str, name: str, alt: str) -> Markup:
    """Draw one panel per quantity: an open point before, a full one after, a tick at chance."""
    panels = list(dict.fromkeys(change.panel for change in changes))
    rows = max(sum(change.panel == panel for change in changes) for panel in panels)
    columns = min(len(panels), 3)
    lines = -(-len(panels) // columns)
    height = lines * (0.32 * rows + 0.95) + 0.3
    with drawing(width=8.6, height=height, name=name, alt=alt) as shown:
        for index, panel in enumerate(panels):
            axes = shown.figure.add_subplot(lines, columns, index + 1)
            own = [change for change in changes if change.panel == panel]
            for position, change in enumerate(own):
                color = encoder_color(change.encoder, position=position)
                y = len(own) - 1 - position
                axes.annotate(
                    "",
                    xy=(change.after, y),
                    xytext=(change.before, y),
                    arrowprops={"arrowstyle": "-|>", "color": color, "lw": 1.6, "shrinkA": 4, "shrinkB": 4},
                )
                axes.plot(
                    [change.before], [y], "o", color=PAPER, markeredgecolor=color, markersize=7, mew=1.6
                )
                axes.plot([change.after], [y], "o", color=color, markersize=7)
            for value in {change.chance for change in own if change.chance is not None}:
                axes.axvline(value, color=MUTED, linestyle="dashed", linewidth=1.1)
            labels = [encoder_label(change.encoder) for change in reversed(own)]
            is_left = index % columns == 0
            axes.set_yticks(range(len(own)), labels if is_left else [""] * len(own))
            axes.set_ylim(-0.6, len(own) - 0.4)
            highest = max(max(change.before, change.after, change.chance or 0.0) for change in own)
            axes.set_xlim(0, min(1.06, 1.15 * highest + 0.05))
            _write_title(axes, panel)
            axes.grid(visible=False, axis="y")
            axes.spines["left"].set_visible(False)
        shown.figure.supxlabel(x_label, fontsize=9.5, color=INK)
    return shown.svg


def _write_title(axes: Axes, panel: str) -> None:
    """What is read, and smaller what it is read from."""
    title, _, source = panel.partition("\n")
    axes.set_title(title + ("\n" if source else ""), color=INK)
    axes.annotate(
        source,
        (0, 1),
        xytext=(0, 5),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=8.5,
        color=MUTED,
    )
