"""Model families side by side: what each cost to train, and what it knows."""

from __future__ import annotations

from phenoscale.reports.benchmark_rows import RecallTable, recall_tables, source_label
from phenoscale.reports.families import (
    NOT_RECORDED,
    Cell,
    choosing_tasks,
    compared_encoders,
    family_columns,
)
from phenoscale.reports.figures.bars import Point, draw_points
from phenoscale.reports.figures.dumbbells import Change, draw_changes
from phenoscale.reports.figures.lines import Reference
from phenoscale.reports.figures.palette import GOOD, encoder_label
from phenoscale.reports.inputs import ReportInputs
from phenoscale.reports.markup import Content, Markup, figure, join, paragraph, safe, table, tag, titled
from phenoscale.reports.sections.scaling import scaling_part
from phenoscale.reports.sections.section import Section
from phenoscale.schema.rows import BEFORE, FINAL, ORACLE, Row


def families_section(inputs: ReportInputs) -> Section | None:
    """The comparison of several trainings; None for a report on one."""
    if len(inputs.trainings) < 2:
        return None
    recalls = recall_tables(inputs.rows)
    return Section(
        name="families",
        title="Model families",
        lead="What does each family of models learn from the same screen, and what does that cost?",
        body=join(
            [
                _table(inputs),
                _notes(inputs),
                _block_figure(inputs),
                *(_recall_figure(found, index) for index, found in enumerate(recalls)),
                scaling_part(inputs),
            ]
        ),
    )


def _table(inputs: ReportInputs) -> Markup:
    """All groups of columns in one table, a line per encoder and the lines that say what to compare with."""
    groups = family_columns(inputs)
    header = ["", *(f"{group.subject} {head}".strip() for group in groups for head in group.heads)]
    names = list(dict.fromkeys(name for group in groups for name in group.cells))
    names.sort(key=lambda name: name not in compared_encoders(inputs))
    rows: list[list[Content]] = [
        [
            encoder_label(name),
            *(
                _stacked(cell)
                for group in groups
                for cell in group.cells.get(name, (Cell(),) * len(group.heads))
            ),
        ]
        for name in names
    ]
    return table(header, rows, numeric=range(1, len(header)), kind="families")


def _stacked(cell: Cell) -> Markup:
    """A number, and under it its interval."""
    if not cell.interval:
        return safe(cell.number)
    return join([cell.number, tag("br"), tag("span", cell.interval, class_="interval")])


def _notes(inputs: ReportInputs) -> Markup:
    text = (
        "CPU seconds are those of all training processes; GFLOP per crop is one forward pass, decoder and "
        "masking included, of which a training step takes about three. The best block of an encoder is the "
        "one at which it was cut, as the choosing task says; the last block is the end of the whole encoder. "
        "Brackets are 95 % intervals."
    )
    if "wsl" in inputs.trainings:
        text += (
            " A weakly supervised encoder was trained on the labels of its wells: a probe of the same label "
            "partly repeats its training."
        )
    silent = any(training.cpu_seconds is None for training in inputs.trainings.values())
    return paragraph(text + (f" {NOT_RECORDED.capitalize()}: by an older training." if silent else ""))


def _block_figure(inputs: ReportInputs) -> Markup | None:
    changes = [
        Change(
            panel=task.task.replace("_", " "),
            encoder=curve.encoder,
            before=curve.rows[-1].value or 0.0,
            after=curve.shown.value or 0.0,
            chance=task.chance,
        )
        for task in choosing_tasks(inputs.probe_rows)
        for curve in task.curves["embedding"]
    ]
    if not changes:
        return None
    drawn = draw_changes(
        changes,
        x_label="balanced accuracy",
        name="families-blocks",
        alt="Balanced accuracy at the last and at the best block of every encoder, by probe task",
    )
    caption = titled(
        "Last block and best block",
        "An open point is the last block, a full one the block at which the encoder was cut; the dashed "
        "line is chance. A long arrow means that what the encoder learned does not stand at its end.",
    )
    return figure(drawn, caption=caption)


def _recall_figure(found: RecallTable, index: int) -> Markup | None:
    points = [
        _point(encoder, row, is_open=step == BEFORE)
        for encoder in found.encoders
        for step in (FINAL, BEFORE)
        if (row := found.find(encoder, step=step)) is not None and row.value is not None
    ]
    if not points:
        return None
    references = [Reference("chance", found.chance)]
    oracle = found.find(ORACLE, step=FINAL)
    if oracle is not None and oracle.value is not None:
        references.append(Reference("oracle", oracle.value, color=GOOD))
    title = source_label(found.source) + (f", {found.stratum}" if found.stratum else "")
    drawn = draw_points(
        points,
        references=references,
        x_label=f"recall of {title}",
        name=f"families-recall-{index}",
        alt=f"Recall of {title} by every encoder, before and after correction",
    )
    caption = titled(
        f"Recall of {title}",
        "Full points are corrected maps, open points the same before correction, bars 95 % intervals.",
    )
    return figure(drawn, caption=caption)


def _point(encoder: str, row: Row, *, is_open: bool) -> Point:
    return Point(
        label="" if is_open else encoder_label(encoder),
        encoder=encoder,
        value=row.value or 0.0,
        low=row.low,
        high=row.high,
        is_open=is_open,
    )
