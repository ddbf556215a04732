"""Scaling: what the encoders know against what they took to train."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from phenoscale.benchmarks.published.scaling import AXES, ScalingPoint, fit_log, scaling_rows, together
from phenoscale.reports.benchmark_rows import recall_tables, source_label
from phenoscale.reports.families import choosing_tasks
from phenoscale.reports.figures.trends import Trend, TrendPoint, draw_trends
from phenoscale.reports.inputs import ReportInputs
from phenoscale.reports.markup import Content, Markup, figure, interval, join, table, tag, titled
from phenoscale.schema.rows import FINAL, Row

_MIN_ENCODERS = 2


def scaling_part(compared: ReportInputs) -> Markup | None:
    """A figure for each metric, and one table of slopes; None where encoders of two sizes are not there."""
    points = scaling_points(compared)
    figures = [
        _figure(alike, index) for index, alike in enumerate(together(points).values()) if _panels(alike)
    ]
    if not figures:
        return None
    return join([tag("h3", "Scaling"), *figures, _table(scaling_rows(points))])


def scaling_points(compared: ReportInputs) -> list[ScalingPoint]:
    """Corrected recall and the probes of the chosen blocks of every trained encoder, with what it took."""
    rows = [
        *(
            row
            for found in recall_tables(compared.rows)
            for name in compared.trainings
            if (row := found.find(name, step=FINAL)) is not None
        ),
        *(
            # the block of each encoder is its own, and no setting that keeps encoders apart
            Row(
                row.benchmark, row.source, row.metric, "{}", row.value, row.low, row.high, encoder=row.encoder
            )
            for task in choosing_tasks(compared.probe_rows)
            for curve in task.curves["embedding"]
            if (row := curve.shown).encoder in compared.trainings
        ),
    ]
    return [_point(row, compared) for row in rows]


def _point(row: Row, compared: ReportInputs) -> ScalingPoint:
    summary = compared.trainings[row.encoder].summary
    crops, per_crop = summary.get("num_training_crops"), summary.get("paper_gflops_per_crop")
    return ScalingPoint(
        encoder=row.encoder,
        measured=row,
        crops=crops,
        flops_paper=None if crops is None or per_crop is None else 1e9 * per_crop * crops,
        flops_exact=summary.get("flops"),
        parameters=compared.num_parameters.get(row.encoder),
    )


def _panels(alike: Sequence[ScalingPoint]) -> list[Trend]:
    """One panel for each axis on which the encoders stand in different places."""
    panels = []
    for axis, label in AXES.items():
        placed = [(x, point) for point in alike if (x := point.along(axis)) is not None]
        places = np.array([x for x, _ in placed])
        if len(np.unique(places)) < _MIN_ENCODERS:
            continue
        shown = [
            TrendPoint(point.encoder, x, row.value or 0.0, row.low, row.high)
            for x, point in placed
            if (row := point.measured)
        ]
        fit = fit_log(places, np.array([point.y for point in shown]))
        assert fit is not None, "the places differ"
        ends = tuple((float(x), fit.at(x)) for x in (places.min(), places.max()))
        note = f"R² {fit.r_squared:.2f}" if len(placed) > _MIN_ENCODERS else ""
        panels.append(Trend(label, shown, (ends[0], ends[1]), note))
    return panels


def _figure(alike: Sequence[ScalingPoint], index: int) -> Markup:
    row = alike[0].measured
    name = f"{row.metric.replace('_', ' ')}, {source_label(row.source).replace('_', ' ')}"
    drawn = draw_trends(
        _panels(alike),
        y_label=name,
        name=f"scaling-{index}",
        alt=f"{name} of every trained encoder against crops, operations and parameters",
    )
    caption = titled(
        f"{name[0].upper()}{name[1:]} against what training took",
        "The dashed line is a fit over the logarithm; of a few encoders of different families it "
        "describes them and predicts nothing.",
    )
    return figure(drawn, caption=caption)


def _table(rows: Iterable[Row]) -> Markup | None:
    fits: dict[tuple[str, str, str], dict[str, Row]] = {}
    for row in rows:
        settings = row.settings
        place = (row.source, str(settings["metric"]), str(settings["against"]))
        fits.setdefault(place, {})[row.metric] = row
    lines: list[list[Content]] = []
    for (source, metric, axis), found in fits.items():
        slope, share = found["slope_per_tenfold"], found["r_squared"]
        lines.append(
            [
                f"{metric.replace('_', ' ')}, {source_label(source).replace('_', ' ')}",
                AXES[axis],
                f"{slope.value:+.3f}",
                interval(slope.low, slope.high),
                "" if share.value is None else f"{share.value:.2f}",
                interval(share.low, share.high, digits=2),
                str(slope.n),
            ]
        )
    header = ("", "against", "per tenfold", "95 % interval", "R²", "95 % interval", "encoders")
    return table(header, lines, numeric=(2, 4, 6)) if lines else None
