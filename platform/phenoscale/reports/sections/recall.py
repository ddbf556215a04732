"""Known relationships: how many of them the map finds, before and after each correction step."""

from __future__ import annotations

from phenoscale.reports.benchmark_rows import RecallTable, recall_tables, skipped, source_label, step_label
from phenoscale.reports.figures.lines import LinePlot, Reference, Series, draw_lines
from phenoscale.reports.figures.palette import encoder_color, encoder_label
from phenoscale.reports.inputs import ReportInputs
from phenoscale.reports.markup import (
    Content,
    Markup,
    explain,
    figure,
    interval,
    join,
    number,
    paragraph,
    percent,
    table,
    tag,
    titled,
)
from phenoscale.reports.sections.section import Section
from phenoscale.schema.rows import (
    BEFORE,
    FINAL,
    ORACLE,
    RECALL,
    RECALL_ACROSS_ARMS,
    RECALL_DIFFERENCE,
    RECALL_WITHIN_ARM,
    STEP,
    Row,
)

_DIFFERENCE = RECALL_DIFFERENCE


def recall_section(inputs: ReportInputs) -> Section:
    """One part per annotation source and stratum."""
    tables = recall_tables(inputs.rows)
    reason = skipped(inputs.rows, benchmark=RECALL)
    body = None
    if tables:
        body = join([_about(tables[0]), *(_source(found, index) for index, found in enumerate(tables))])
    return Section(
        name="recall",
        title="Known relationships",
        lead="Genes known to work together should lie close together, or exactly opposite, in the map.",
        body=body,
        absent=f"No recall was measured: {reason}." if reason else "No recall rows were given.",
    )


def _about(found: RecallTable) -> Markup:
    setting = found.rows[0].settings
    lower, upper = float(setting.get("lower", 0.05)), float(setting.get("upper", 0.95))
    return explain(
        "How this is measured",
        paragraph(
            "Take the cosine of every pair of perturbations in the map. A known pair counts as recalled "
            f"when its cosine is among the lowest {percent(lower)} or the highest {percent(1 - upper)} of "
            f"all pairs. A map without knowledge recalls {percent(found.chance)}. Intervals come from "
            "resampling genes."
        ),
        paragraph(
            "Where the screen is simulated, the oracle is the same measurement on the planted phenotypes "
            "themselves: no encoder can be expected to go far beyond it."
        ),
    )


def _source(found: RecallTable, index: int) -> Markup:
    title = source_label(found.source) + (f", {found.stratum}" if found.stratum else "")
    has_steps = len(found.steps) > 1
    return join(
        [
            tag("h3", f"Source: {title}"),
            _steps_figure(found, index) if has_steps else None,
            _table(found),
            _curve_figure(found, index),
            _arms_table(found),
        ]
    )


def _steps_figure(found: RecallTable, index: int) -> Markup:
    series = [_step_series(found, encoder, position=i) for i, encoder in enumerate(found.encoders)]
    oracle = found.find(ORACLE, step=FINAL)
    if oracle is not None and oracle.value is not None:
        series.append(
            Series(
                label=encoder_label(ORACLE),
                x=[0],
                y=[oracle.value],
                low=[oracle.low],
                high=[oracle.high],
                color=encoder_color(ORACLE),
                is_flat=True,
            )
        )
    drawn = draw_lines(
        LinePlot(
            name=f"recall-steps-{index}",
            alt=f"Recall of {found.source} after each correction step, by encoder",
            x_label="map after this step",
            y_label="recall",
            tick_labels=[step_label(step) for step in found.steps],
            percent=True,
            height=3.9,
        ),
        series=series,
        references=[Reference("chance", found.chance)],
    )
    caption = titled(
        "Recall before and after each correction step",
        "From left to right, one more step of the map is applied. Bands are 95 % intervals. A step "
        "that lowers the trained encoder's line takes away biology together with the nuisance.",
    )
    return figure(drawn, caption=caption)


def _step_series(found: RecallTable, encoder: str, *, position: int) -> Series:
    rows = [(index, found.find(encoder, step=step)) for index, step in enumerate(found.steps)]
    known = [(index, row) for index, row in rows if row is not None and row.value is not None]
    return Series(
        label=encoder_label(encoder),
        x=[float(index) for index, _ in known],
        y=[float(row.value or 0.0) for _, row in known],
        low=[row.low for _, row in known],
        high=[row.high for _, row in known],
        color=encoder_color(encoder, position=position),
    )


def _table(found: RecallTable) -> Markup:
    differences = {
        (str(row.settings.get("against")), str(row.settings.get("against_step"))): row
        for row in found.all_rows
        if row.metric == _DIFFERENCE
    }
    rows: list[list[Content]] = []
    for encoder in [*found.encoders, ORACLE]:
        before, after = found.find(encoder, step=BEFORE), found.find(encoder, step=FINAL)
        if before is None and after is None:
            continue
        rows.append(
            [
                encoder_label(encoder),
                *_cells(before),
                *_cells(after),
                _difference(differences.get((encoder, FINAL))),
                f"{(after or before).n:,}" if (after or before) else "",  # type: ignore[union-attr]
            ]
        )
    rows.append(["chance", number(found.chance), "", number(found.chance), "", "", ""])
    reference = next((encoder_label(row.encoder) for row in differences.values()), "reference")
    against = f"{reference} minus this"
    header = ["", "before", "95 % interval", "corrected", "95 % interval", against, "pairs"]
    return table(header, rows, numeric=(1, 3, 6))


def _cells(row: Row | None) -> list[Content]:
    return ["—", ""] if row is None else [number(row.value), interval(row.low, row.high)]


def _difference(row: Row | None) -> str:
    if row is None or row.value is None:
        return ""
    return f"{row.value:+.3f} {interval(row.low, row.high)}"


def _curve_figure(found: RecallTable, index: int) -> Markup | None:
    tails = sorted({float(row.settings["lower"]) for row in found.curve if "lower" in row.settings})
    if len(tails) < 3:
        return None
    series = []
    for position, encoder in enumerate([*found.encoders, ORACLE]):
        rows = sorted(
            (row for row in found.curve if row.encoder == encoder),
            key=lambda row: float(row.settings["lower"]),
        )
        if rows:
            series.append(
                Series(
                    label=encoder_label(encoder),
                    x=[float(row.settings["lower"]) for row in rows],
                    y=[float(row.value or 0.0) for row in rows],
                    low=[row.low for row in rows],
                    high=[row.high for row in rows],
                    color=encoder_color(encoder, position=position),
                )
            )
    chance = Series(label="chance", x=tails, y=[2 * tail for tail in tails], color="#64748b")
    drawn = draw_lines(
        LinePlot(
            name=f"recall-curve-{index}",
            alt=f"Recall of {found.source} against the size of the tails",
            x_label="share of all pairs in each tail",
            y_label="recall, corrected map",
            percent=True,
        ),
        series=[*series, chance],
    )
    caption = titled(
        "Recall at every threshold",
        "The wider the tails, the more pairs count as recalled; what matters is the distance from the "
        "gray line, and that the order of the encoders does not hang on one threshold.",
    )
    return figure(drawn, caption=caption)


def _arms_table(found: RecallTable) -> Markup | None:
    rows: list[list[Content]] = []
    for encoder in found.encoders:
        for step in (BEFORE, FINAL):
            cells = [
                _arm_row(found, encoder, step=step, metric=m) for m in (RECALL_WITHIN_ARM, RECALL_ACROSS_ARMS)
            ]
            if all(row is not None for row in cells):
                rows.append(
                    [encoder_label(encoder), step_label(step), *(c for row in cells for c in _cells(row))]
                )
    if not rows:
        return None
    header = ["", "map", "within one arm", "95 % interval", "across arms", "95 % interval"]
    note = paragraph(
        "Neighbors on a chromosome arm look alike for reasons that are not function (proximity bias). "
        "Recall that is much higher within arms than across them is partly that artifact."
    )
    return explain("Recall within and across chromosome arms", note, table(header, rows, numeric=(2, 4)))


def _arm_row(found: RecallTable, encoder: str, *, step: str, metric: str) -> Row | None:
    tails = found.rows[0].settings.get("lower")
    return next(
        (
            row
            for row in found.all_rows
            if row.metric == metric
            and row.encoder == encoder
            and row.settings.get(STEP) == step
            and row.settings.get("lower") == tails
        ),
        None,
    )
