"""The interactive plots: the map as points to hover over, and its cosines as a clustered heatmap. Offline.

Shapes: N perturbations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from phenoscale.reports.figures.palette import INK, LINE, MUTED, UNGROUPED, group_style
from phenoscale.reports.markup import Markup, tag

UNGROUPED_NAME: Final = "no group"
_LAYOUT: Final[dict[str, Any]] = {
    "font": {"family": "Inter, Segoe UI, Roboto, Helvetica, Arial, sans-serif", "size": 12, "color": INK},
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "hoverlabel": {"bgcolor": "#ffffff", "bordercolor": LINE, "font": {"color": INK, "size": 12}},
}
_CONFIG: Final = {"displayModeBar": False, "responsive": True}
# Blue for opposite, white for unrelated, red for alike: readable with any color vision.
_COSINE_COLORS: Final = [
    [0.0, "#2166ac"],
    [0.25, "#92c5de"],
    [0.5, "#f7f7f7"],
    [0.75, "#f4a582"],
    [1.0, "#b2182b"],
]


@dataclass(frozen=True)
class MapPoints:
    """Points of the map overview.

    Attributes:
        names: what each point is called.
        groups: group of each point, "" for none.
        hover: further text of each point.
        layouts: name of a layout -> coordinates [N, 2]; the first is shown first.
    """

    names: Sequence[str]
    groups: Sequence[str]
    hover: Sequence[str]
    layouts: Mapping[str, npt.NDArray[np.float64]]


def draw_map(points: MapPoints) -> Markup:
    """Draw the points, one legend entry per group, with buttons that switch between layouts."""
    import plotly.graph_objects as go

    groups = sorted({group for group in points.groups if group}, key=natural)
    first = next(iter(points.layouts.values()))
    members = {group: [i for i, own in enumerate(points.groups) if own == group] for group in ("", *groups)}
    members = {group: rows for group, rows in members.items() if rows}
    fig = go.Figure()
    for index, (group, rows) in enumerate(members.items()):
        color, symbol = (UNGROUPED, "circle") if not group else group_style(groups.index(group))
        fig.add_trace(
            go.Scatter(
                x=_short(first[rows, 0]),
                y=_short(first[rows, 1]),
                mode="markers",
                name=group or UNGROUPED_NAME,
                text=[f"<b>{points.names[i]}</b><br>{points.hover[i]}" for i in rows],
                hovertemplate="%{text}<extra></extra>",
                marker={
                    "size": 8 if group else 6,
                    "color": color,
                    "symbol": symbol,
                    "opacity": 0.9 if group else 0.6,
                    "line": {"width": 0.7, "color": "#ffffff"},
                },
                legendrank=2000 if not group else 1000 + index,
            )
        )
    axis = {"showgrid": False, "zeroline": False, "showticklabels": False, "ticks": "", "linecolor": LINE}
    fig.update_layout(
        **_LAYOUT,
        height=560,
        margin={"l": 10, "r": 10, "t": 44, "b": 10},
        xaxis={**axis, "showline": True, "mirror": True},
        yaxis={**axis, "showline": True, "mirror": True, "scaleanchor": "x"},
        legend={"itemsizing": "constant", "font": {"size": 11}, "tracegroupgap": 0},
        updatemenus=[_switch(points, list(members.values()))],
    )
    return _fragment(fig, name="map-overview")


def _switch(points: MapPoints, members: Sequence[Sequence[int]]) -> dict[str, Any]:
    buttons = [
        {
            "label": name,
            "method": "restyle",
            "args": [
                {
                    "x": [_short(xy[rows, 0]) for rows in members],
                    "y": [_short(xy[rows, 1]) for rows in members],
                }
            ],
        }
        for name, xy in points.layouts.items()
    ]
    return {
        "type": "buttons",
        "direction": "right",
        "buttons": buttons,
        "x": 0,
        "xanchor": "left",
        "y": 1.0,
        "yanchor": "bottom",
        "pad": {"b": 6},
        "bgcolor": "#ffffff",
        "bordercolor": LINE,
        "font": {"size": 12},
        "showactive": True,
        "visible": len(buttons) > 1,
    }


def draw_heatmap(
    cosines_NN: npt.NDArray[np.float64], *, names: Sequence[str], groups: Sequence[str]
) -> Markup:
    """Draw cosines of perturbations in the given order; hover names the pair."""
    import plotly.graph_objects as go

    labels = [f"{name} ({group})" if group else name for name, group in zip(names, groups, strict=True)]
    fig = go.Figure(
        go.Heatmap(
            z=np.round(cosines_NN, 2).tolist(),
            x=labels,
            y=labels,
            zmin=-1,
            zmax=1,
            colorscale=_COSINE_COLORS,
            hovertemplate="%{y}<br>%{x}<br>cosine %{z:.2f}<extra></extra>",
            colorbar={
                "title": {"text": "cosine", "side": "right"},
                "thickness": 12,
                "outlinewidth": 0,
                "len": 0.6,
            },
        )
    )
    shows_names = len(labels) <= 60
    axis = {
        "showticklabels": shows_names,
        "ticks": "",
        "tickfont": {"size": 9, "color": MUTED},
        "showgrid": False,
    }
    fig.update_layout(
        **_LAYOUT,
        height=600,
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        xaxis={**axis, "constrain": "domain"},
        yaxis={**axis, "autorange": "reversed", "scaleanchor": "x", "constrain": "domain"},
    )
    return tag("div", _fragment(fig, name="map-heatmap"), class_="square")


def plotly_script() -> Markup:
    """The plotting library itself, once per page."""
    from plotly.offline import get_plotlyjs

    return Markup(f"<script>{get_plotlyjs()}</script>")


def _fragment(fig: Any, *, name: str) -> Markup:
    fig.update_layout(template="none")
    html: str = fig.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=_CONFIG)
    return Markup(html)


def natural(name: str) -> list[tuple[int, str]]:
    """Sorts `module 2` before `module 10`."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name) if part]


def _short(values: npt.NDArray[np.float64]) -> list[float]:
    """Coordinates with the few digits that a screen can show."""
    return [float(f"{value:.4g}") for value in values]
