"""The comparison of model families: what each encoder cost, and what it knows, as groups of columns.

The report shows the groups side by side in one table; a run prints them one below the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from phenoscale.reports.benchmark_rows import RecallTable, recall_tables, source_label, step_of
from phenoscale.reports.figures.palette import in_order
from phenoscale.reports.inputs import ReportInputs, TrainingFacts
from phenoscale.reports.markup import interval
from phenoscale.reports.probe_rows import ProbeTaskRows, probe_tasks
from phenoscale.schema.rows import BEFORE, FINAL, MOA, NSC_ACCURACY, ORACLE, Row

NOT_RECORDED: Final = "not recorded"
CHANCE, CONFOUNDS = "chance", "confounds alone"
_EMBEDDING: Final = "embedding"


class Cell(NamedTuple):
    """A number, and its interval where it has one."""

    number: str = ""
    interval: str = ""

    @property
    def text(self) -> str:
        """Both on one line."""
        return f"{self.number} {self.interval}".rstrip()


@dataclass(frozen=True)
class Columns:
    """Columns that belong together.

    Attributes:
        title: what they say.
        subject: the same in a word or two; empty where the heads say it themselves.
        heads: one per column.
        cells: by name of the line, one per column.
    """

    title: str
    subject: str
    heads: tuple[str, ...]
    cells: Mapping[str, tuple[Cell, ...]]


def compared_encoders(inputs: ReportInputs) -> list[str]:
    """The trained encoders, then those that no training went into."""
    measured = [row.encoder for row in (*inputs.probe_rows, *inputs.rows)]
    return [name for name in in_order([*inputs.trainings, *measured]) if name not in ("", ORACLE)]


def family_columns(inputs: ReportInputs) -> list[Columns]:
    """The whole comparison: cost, then one group a probe task, an annotation source, mechanism of action."""
    encoders = compared_encoders(inputs)
    groups = [_cost(inputs, encoders=encoders)]
    groups += [_probe(task, encoders=encoders) for task in choosing_tasks(inputs.probe_rows)]
    groups += [_recall(found) for found in recall_tables(inputs.rows)]
    mechanisms = [row for row in inputs.rows if row.benchmark == MOA and row.metric == NSC_ACCURACY]
    if mechanisms:
        groups.append(_mechanisms(mechanisms, encoders=encoders))
    return groups


def choosing_tasks(rows: Sequence[Row]) -> list[ProbeTaskRows]:
    """The probe tasks, each at the strength by which blocks are chosen."""
    tasks: dict[str, ProbeTaskRows] = {}
    for task in probe_tasks(rows):
        tasks.setdefault(task.task, task)
    return list(tasks.values())


def _cost(inputs: ReportInputs, *, encoders: Iterable[str]) -> Columns:
    cells = {}
    for name in encoders:
        count = inputs.num_parameters.get(name)
        training = inputs.trainings.get(name)
        spent = ("", "", "") if training is None else _spent(training)
        cells[name] = tuple(map(Cell, ("" if count is None else f"{count:,}", *spent)))
    heads = ("encoder parameters", "CPU seconds", "crops seen", "GFLOP per crop")
    return Columns("what each encoder cost to train", "", heads, cells)


def _spent(training: TrainingFacts) -> tuple[str, str, str]:
    seconds = training.cpu_seconds
    crops = training.summary.get("num_training_crops")
    forward = training.summary.get("forward_gflops_per_crop")
    return (
        NOT_RECORDED if seconds is None else f"{seconds:,.0f}" if seconds >= 10 else f"{seconds:.1f}",
        NOT_RECORDED if crops is None else f"{crops:,}",
        NOT_RECORDED if forward is None else f"{forward:.3g}",
    )


def _probe(task: ProbeTaskRows, *, encoders: Iterable[str]) -> Columns:
    curves = {curve.encoder: curve for curve in task.curves[_EMBEDDING]}
    cells = {
        name: (
            _cell(curves[name].shown),
            Cell(str(curves[name].shown.settings["block"])),
            Cell(_cell(curves[name].rows[-1]).number),
        )
        for name in encoders
        if name in curves
    }
    if task.confounds is not None:
        cells[CONFOUNDS] = (_cell(task.confounds), Cell(), Cell())
    if task.chance is not None:
        cells[CHANCE] = (Cell(f"{task.chance:.3f}"), Cell(), Cell())
    name = task.task.replace("_", " ")
    title = f"probe of {name} (balanced accuracy)"
    return Columns(title, f"{name}:", ("best block", "block", "last block"), cells)


def _recall(found: RecallTable) -> Columns:
    cells = {
        name: (
            Cell(_cell(found.find(name, step=BEFORE)).number),
            _cell(found.find(name, step=FINAL)),
        )
        for name in (*found.encoders, *([ORACLE] if found.find(ORACLE, step=FINAL) else []))
    }
    cells[CHANCE] = (Cell(), Cell(f"{found.chance:.3f}"))
    stratum = f", {found.stratum}" if found.stratum else ""
    source = f"{source_label(found.source)}{stratum}"
    title = f"recall of known relationships ({source})"
    return Columns(title, f"recall of {source}:", ("before", "corrected"), cells)


def _mechanisms(rows: Sequence[Row], *, encoders: Iterable[str]) -> Columns:
    found = {(row.encoder, step_of(row)): row for row in rows}
    cells = {
        name: tuple(_cell(found.get((name, step))) for step in (BEFORE, FINAL))
        for name in encoders
        if (name, FINAL) in found
    }
    title = "mechanism of action of the nearest treatment of another compound (NSC)"
    return Columns(title, "same mechanism:", ("before", "corrected"), cells)


def _cell(row: Row | None) -> Cell:
    if row is None or row.value is None:
        return Cell()
    return Cell(f"{row.value:.3f}", interval(row.low, row.high))
