"""Replicates and mechanisms: do wells of one treatment agree, and do treatments of one mechanism?"""

from __future__ import annotations

from collections.abc import Sequence

from phenoscale.reports.benchmark_rows import before_and_after, skipped, step_of
from phenoscale.reports.figures.bars import Point, draw_points
from phenoscale.reports.figures.lines import Reference
from phenoscale.reports.figures.palette import encoder_label, in_order
from phenoscale.reports.inputs import ReportInputs
from phenoscale.reports.markup import Markup, figure, join, missing, titled
from phenoscale.reports.sections.section import Section
from phenoscale.schema.rows import (
    BEFORE,
    CHANCE,
    CONSISTENCY,
    FINAL,
    KS_MEAN,
    MOA,
    NSC_ACCURACY,
    NSCB_ACCURACY,
    Row,
)

_MOA_METRICS = {
    NSC_ACCURACY: "not the same compound (NSC)",
    NSCB_ACCURACY: "not the same compound nor batch (NSCB)",
}


def replicates_section(inputs: ReportInputs) -> Section:
    """Replicate consistency and nearest-neighbor mechanism of action."""
    consistency = before_and_after(inputs.rows, benchmark=CONSISTENCY, metric=KS_MEAN)
    moa = before_and_after(inputs.rows, benchmark=MOA)
    body = None
    if consistency or moa:
        reason = skipped(inputs.rows, benchmark=MOA)
        body = join(
            [
                _consistency(consistency) if consistency else None,
                *(_moa(moa, metric) for metric in _MOA_METRICS if any(row.metric == metric for row in moa)),
                missing(f"Mechanism of action is not shown: {reason}.") if reason and not moa else None,
            ]
        )
    return Section(
        name="replicates",
        title="Replicates and mechanisms",
        lead="Wells of one treatment should agree; treatments of one mechanism should be neighbors.",
        body=body,
        absent="No rows on replicate consistency or mechanism of action were given.",
    )


def _consistency(rows: Sequence[Row]) -> Markup:
    drawn = draw_points(
        _points(rows),
        x_label="Kolmogorov–Smirnov statistic, mean over perturbations",
        name="consistency",
        alt="Replicate consistency by encoder, before and after correction",
    )
    caption = titled(
        "Replicate consistency",
        "How far the cosines of replicates of one perturbation lie from those of different "
        "perturbations: 0 is no difference, 1 is perfect separation. Open points are before "
        "correction, full points after; lines are 95 % intervals from resampling perturbations.",
    )
    return figure(drawn, caption=caption)


def _moa(rows: Sequence[Row], metric: str) -> Markup:
    own = [row for row in rows if row.metric == metric]
    chances = sorted({float(row.settings[CHANCE]) for row in own if row.settings.get(CHANCE) is not None})
    drawn = draw_points(
        _points(own),
        references=[Reference("chance", chances[0])] if chances else [],
        x_label="share of treatments whose nearest neighbor has the same mechanism",
        name=f"moa-{metric.replace('_', '-')}",
        alt=f"Mechanism-of-action accuracy, {_MOA_METRICS[metric]}, by encoder",
    )
    caption = titled(
        f"Mechanism of action, {_MOA_METRICS[metric]}",
        f"For each of {max(row.n for row in own)} treatments, the most similar treatment of another "
        f"compound is looked up{_apart(metric)}. Lines are 95 % binomial intervals.",
    )
    return figure(drawn, caption=caption)


def _apart(metric: str) -> str:
    if metric != NSCB_ACCURACY:
        return ""
    return " among those that share no batch with it, so that a common batch cannot make it right"


def _points(rows: Sequence[Row]) -> list[Point]:
    points = []
    for encoder in in_order(row.encoder for row in rows):
        for step in (BEFORE, FINAL):
            row = next((row for row in rows if row.encoder == encoder and step_of(row) == step), None)
            if row is None or row.value is None:
                continue
            state = "before" if step == BEFORE else "corrected"
            points.append(
                Point(
                    label=f"{encoder_label(encoder)}, {state}",
                    encoder=encoder,
                    value=row.value,
                    low=row.low,
                    high=row.high,
                    is_open=step == BEFORE,
                )
            )
    return points
