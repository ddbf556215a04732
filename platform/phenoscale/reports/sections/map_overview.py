"""The map itself: points to hover over, a clustered heatmap, nearest neighbors."""

from __future__ import annotations

import math

import numpy as np

from phenoscale.reports.benchmark_rows import name_step
from phenoscale.reports.config import ReportConfig
from phenoscale.reports.figures.interactive import MapPoints, draw_heatmap, draw_map
from phenoscale.reports.figures.palette import encoder_label
from phenoscale.reports.inputs import ReportInputs
from phenoscale.reports.map_view import (
    MapView,
    Neighbors,
    cluster_order,
    lay_out,
    nearest_neighbors,
    same_group_share,
    view_map,
)
from phenoscale.reports.markup import (
    Content,
    Markup,
    figure,
    join,
    paragraph,
    percent,
    plural,
    table,
    tag,
    titled,
)
from phenoscale.reports.sections.section import Section

MIN_POINTS = 3


def map_section(inputs: ReportInputs, config: ReportConfig) -> Section:
    """The overview of one map: the configured one, else the first."""
    name = config.shown_map if config.shown_map in inputs.maps else next(iter(inputs.maps), "")
    shown = inputs.maps.get(name)
    body = None
    if shown is not None and len(shown) >= MIN_POINTS:
        view = view_map(shown, groups=inputs.groups, max_points=config.max_map_points, seed=config.seed)
        steps = [str(step.get("name")) for step in shown.steps]
        body = join(
            [
                paragraph(_describe(view, name=name, steps=steps, column=config.group_column)),
                _overview(view, config),
                _heatmap(view, config),
                _neighbors(view, config),
            ]
        )
    return Section(
        name="map",
        title="The map",
        lead="Every perturbation as one point: close together means that cells look alike.",
        body=body,
        absent="No map with at least three perturbations was given, so there is no overview.",
    )


def _describe(view: MapView, *, name: str, steps: list[str], column: str) -> str:
    done = ", ".join(name_step(step) for step in steps) or "no correction"
    text = f"Map of the {encoder_label(name)}: {plural(len(view), 'perturbation')}, made by {done}. "
    share, chance, count = same_group_share(view)
    if not count or math.isnan(share):
        return text
    return text + (
        f"Of {plural(count, 'perturbation')} with a known {column}, {percent(share)} have a nearest "
        f"neighbor of the same {column}; a random neighbor would share it in {percent(chance)}."
        + (" Other doses of a compound count as neighbors here." if _has_doses(view) else "")
    )


def _has_doses(view: MapView) -> bool:
    return bool(view.frame["perturbation"].duplicated().any())


def _overview(view: MapView, config: ReportConfig) -> Markup:
    hover = [
        f"{config.group_column}: {group or 'none known'}<br>distance from negative controls {length:.2f}"
        for group, length in zip(view.groups, view.lengths_N, strict=True)
    ]
    points = MapPoints(
        names=view.names, groups=view.groups, hover=hover, layouts=lay_out(view, seed=config.seed)
    )
    caption = titled(
        "Map overview",
        "Hover for names; click a legend entry to hide it, double-click to see it alone; drag to zoom, "
        "double-click to zoom out. t-SNE keeps neighbors together, but its distances between clusters "
        "mean nothing; PCA is linear and shows only the two strongest directions.",
    )
    return figure(draw_map(points), caption=caption, wide=True)


def _heatmap(view: MapView, config: ReportConfig) -> Markup:
    order = cluster_order(view, seed=config.seed)
    cosines = np.clip(view.units_ND[order] @ view.units_ND[order].T, -1, 1)
    sampled = f" A sample of {len(order)} is shown." if len(order) < len(view) else ""
    caption = titled(
        "Cosines of all pairs, clustered",
        "Red blocks on the diagonal are groups of perturbations that look alike; blue is opposite." + sampled,
    )
    drawn = draw_heatmap(
        cosines, names=[view.names[row] for row in order], groups=[view.groups[row] for row in order]
    )
    return figure(drawn, caption=caption, wide=True)


def _neighbors(view: MapView, config: ReportConfig) -> Markup | None:
    found = nearest_neighbors(view, num_queries=config.num_neighbor_queries)
    if not found:
        return None
    rows: list[list[Content]] = [
        [tag("b", view.names[entry.query]), view.groups[entry.query] or "—", _listed(view, entry)]
        for entry in found
    ]
    legend = (
        f"Nearest neighbors by cosine of the strongest perturbation of each {config.group_column}. "
        f"Green neighbors share the {config.group_column} of the query."
    )
    header = ["query", config.group_column, "nearest neighbors, with their cosine"]
    return join([tag("h3", "Nearest neighbors"), paragraph(legend), table(header, rows, kind="neighbors")])


def _listed(view: MapView, entry: Neighbors) -> Markup:
    own = view.groups[entry.query]
    return join(
        tag(
            "span",
            view.names[row],
            tag("small", f" {cosine:.2f}"),
            class_="neighbor same" if own and view.groups[row] == own else "neighbor",
            title=view.groups[row] or None,
        )
        for row, cosine in zip(entry.rows, entry.cosines, strict=True)
    )
