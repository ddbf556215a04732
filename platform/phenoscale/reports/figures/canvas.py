"""Matplotlib as the report uses it: quiet axes, the page's own fonts, crisp inline SVG with stable bytes."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from phenoscale.reports.figures.palette import INK, LINE, MUTED
from phenoscale.reports.markup import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FONTS: Final = "Inter, 'Segoe UI', Roboto, 'Helvetica Neue', 'Liberation Sans', Arial, sans-serif"

_STYLE: Final[dict[str, Any]] = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}


class Drawing:
    """A figure that is being drawn, and the SVG it becomes."""

    def __init__(self, fig: Figure) -> None:
        self.figure = fig
        self.svg = Markup("")


@contextmanager
def drawing(*, width: float, height: float, name: str, alt: str) -> Iterator[Drawing]:
    """Open a figure of so many inches; `svg` holds it as inline SVG afterwards.

    Args:
        width: inches; the page scales the drawing to the space it has.
        height: inches.
        name: different for each figure of the page; keeps the identifiers inside the SVG apart.
        alt: what the figure shows, for readers who do not see it.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {**_STYLE, "svg.hashsalt": name}
    with matplotlib.rc_context(settings):
        fig = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(fig)
        shown = Drawing(fig)
        yield shown
        shown.svg = _inline_svg(fig, name=name, alt=alt)


def _inline_svg(fig: Figure, *, name: str, alt: str) -> Markup:
    buffer = io.StringIO()
    fig.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # Identifiers must be unique on the page, and fonts are the page's.
    text = re.sub(r'id="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'(href="|url\()#([^")]+)', rf"\1#{name}-\2", text)
    text = text.replace("'DejaVu Sans'", FONTS).replace("DejaVu Sans", FONTS)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    opening = text[: text.index(">") + 1]
    plain = re.sub(r' (width|height)="[^"]*"', "", opening)
    label = alt.replace('"', "'").replace("<", "").replace("&", "and")
    return Markup(text.replace(opening, plain[:-1] + f' role="img" aria-label="{label}">', 1))


def direct_label(axes: Axes, point: tuple[float, float], *, text: str, color: str) -> None:
    """Name a line at its end instead of in a legend."""
    axes.annotate(
        text,
        point,
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        color=color,
        fontsize=9,
        fontweight="bold",
        annotation_clip=False,
    )
