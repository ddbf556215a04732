"""Where everything came from: the stages as a graph, with digests, times and code version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from phenoscale.reports.ancestry import Ancestor, Ancestry
from phenoscale.reports.inputs import ReportInputs
from phenoscale.reports.markup import Content, Markup, code, duration, figure, join, table, tag, titled
from phenoscale.reports.sections.section import Section

_BOX_WIDTH: Final = 176
_BOX_HEIGHT: Final = 46
_GAP_X: Final = 28
_GAP_Y: Final = 34
_MARGIN: Final = 12


def lineage_section(inputs: ReportInputs) -> Section:
    """Graph and table of the stages that led to this report."""
    ancestry = inputs.ancestry
    body = None
    if ancestry.stages:
        caption = titled(
            "From raw data to this page",
            "Each box is one finished stage with the first digits of its key and the time it took; an "
            "arrow means that its output was read. Arrows that a longer way already implies are left "
            "out.",
        )
        body = join(
            [
                figure(draw_graph(ancestry), caption=caption),
                tag("h3", "Where the time went"),
                _times(ancestry),
                tag("h3", "Every stage"),
                tag("div", _table(ancestry), class_="compact"),
            ]
        )
    return Section(
        name="lineage",
        title="Lineage",
        lead="The stages behind this page: their inputs, their code and their time.",
        body=body,
        absent="None of the inputs carries a lineage record, so their origin is unknown.",
    )


def draw_graph(ancestry: Ancestry) -> Markup:
    """The stages in layers from top to bottom, as inline SVG."""
    places, width, height = _places(ancestry)
    edges = [_edge(places[parent], places[child]) for parent, child in ancestry.direct_edges()]
    boxes = [_box(ancestry.stages[key], places[key], key=key) for key in ancestry.stages]
    marker = tag(
        "marker",
        tag("path", d="M0,0 L7,3.5 L0,7 Z", fill="#94a3b3"),
        id="lineage-arrow",
        markerWidth="7",
        markerHeight="7",
        refX="6.5",
        refY="3.5",
        orient="auto",
    )
    return tag(
        "svg",
        tag("defs", marker),
        *edges,
        *boxes,
        viewBox=f"0 0 {width} {height}",
        role="img",
        aria_label="Graph of the stages that led to this report",
        style=f"max-width:{width}px",
        xmlns="http://www.w3.org/2000/svg",
        font_family="inherit",
    )


def _places(ancestry: Ancestry) -> tuple[dict[str, tuple[float, float]], int, int]:
    depths = ancestry.depths()
    layers: dict[int, list[str]] = {}
    for key in ancestry.stages:
        layers.setdefault(depths[key], []).append(key)
    widest = max(len(layer) for layer in layers.values())
    width = 2 * _MARGIN + widest * _BOX_WIDTH + (widest - 1) * _GAP_X
    places: dict[str, tuple[float, float]] = {}
    for depth, layer in sorted(layers.items()):
        # Children stand below their parents where that is possible: fewer crossings.
        layer.sort(key=lambda key: _mean_x(key, ancestry=ancestry, places=places))
        used = len(layer) * _BOX_WIDTH + (len(layer) - 1) * _GAP_X
        for index, key in enumerate(layer):
            x = (width - used) / 2 + index * (_BOX_WIDTH + _GAP_X)
            places[key] = (x, _MARGIN + depth * (_BOX_HEIGHT + _GAP_Y))
    height = 2 * _MARGIN + len(layers) * _BOX_HEIGHT + (len(layers) - 1) * _GAP_Y
    return places, width, height


def _mean_x(key: str, *, ancestry: Ancestry, places: Mapping[str, tuple[float, float]]) -> tuple[float, str]:
    parents = [places[parent][0] for parent in ancestry.stages[key].parents if parent in places]
    # Labels decide among children of the same parents, so that layers of one kind keep one order.
    center = sum(parents) / len(parents) if parents else 0.0
    return (round(center, 3), ancestry.stages[key].label)


def _edge(parent: tuple[float, float], child: tuple[float, float]) -> Markup:
    x1, y1 = parent[0] + _BOX_WIDTH / 2, parent[1] + _BOX_HEIGHT
    x2, y2 = child[0] + _BOX_WIDTH / 2, child[1] - 1
    bend = max((y2 - y1) / 2, 14.0)
    path = f"M{x1:.1f},{y1:.1f} C{x1:.1f},{y1 + bend:.1f} {x2:.1f},{y2 - bend:.1f} {x2:.1f},{y2:.1f}"
    return tag(
        "path", d=path, fill="none", stroke="#94a3b3", stroke_width="1.3", marker_end="url(#lineage-arrow)"
    )


def _box(node: Ancestor, place: tuple[float, float], *, key: str) -> Markup:
    x, y = place
    fill, stroke = ("#f5f7fa", "#c9d3dd") if node.reused else ("#edf5fc", "#a9cdec")
    title = node.label.replace("_", " ")
    note = f"{key[:8]}  ·  {duration(node.seconds)}"
    return tag(
        "g",
        tag("title", f"{title}: key {key}"),
        tag(
            "rect",
            x=f"{x:.1f}",
            y=f"{y:.1f}",
            width=str(_BOX_WIDTH),
            height=str(_BOX_HEIGHT),
            rx="8",
            fill=fill,
            stroke=stroke,
        ),
        tag(
            "text",
            title,
            x=f"{x + 12:.1f}",
            y=f"{y + 20:.1f}",
            font_size="13",
            font_weight="600",
            fill="#1b2733",
        ),
        tag("text", note, x=f"{x + 12:.1f}", y=f"{y + 36:.1f}", font_size="11", fill="#5b6b7c"),
    )


def _times(ancestry: Ancestry) -> Markup:
    """Seconds of each stage as bars."""
    longest = max(max(node.seconds for node in ancestry.stages.values()), 1e-9)
    cells = []
    for node in ancestry.stages.values():
        bar = tag("i", style=f"width:{85 * node.seconds / longest:.2f}%")
        cells += [
            tag("div", node.label.replace("_", " ")),
            tag("div", bar, duration(node.seconds), class_="bar"),
        ]
    return tag("div", *cells, class_="times")


def _table(ancestry: Ancestry) -> Markup:
    knows_reuse = any(node.reused is not None for node in ancestry.stages.values())
    rows = [_row(key, node, knows_reuse=knows_reuse) for key, node in ancestry.stages.items()]
    state = ["in this run"] if knows_reuse else []
    header = ["stage", "key", "output digest", "computed", "took", *state, "code", "read"]
    return table(header, rows, numeric=(4,))


def _row(key: str, node: Ancestor, *, knows_reuse: bool) -> list[Content]:
    record, source = node.record, node.record.get("code", {})
    commit = str(source.get("git_commit") or "")[:10] or str(source.get("version") or "unknown")
    dirty = " with local changes" if source.get("dirty") else ""
    inputs = [
        tag("div", name, " ", code(str(entry.get("digest", ""))[:10]))
        for name, entry in record.get("inputs", {}).items()
    ]
    state = tag(
        "span", "reused" if node.reused else "computed", class_=f"pill {'' if node.reused else 'blue'}"
    )
    return [
        node.label.replace("_", " "),
        code(key[:12]),
        code(str(record.get("digest", ""))[:12]),
        str(record.get("started", ""))[:16].replace("T", " "),
        duration(node.seconds),
        *([state] if knows_reuse else []),
        join([code(commit), dirty]),
        join(inputs),
    ]
