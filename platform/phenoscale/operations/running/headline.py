"""The few numbers that a run prints at its end, out of the many rows of `probe` and `benchmark`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from phenoscale.operations.pipelines.links import PIXEL_STATISTICS, TRAINED, UNTRAINED
from phenoscale.schema.rows import (
    BALANCED_ACCURACY,
    BATCH_EFFECT,
    BEFORE,
    CHANCE,
    FINAL,
    MOA,
    NSC_ACCURACY,
    ORACLE,
    PROBE,
    RECALL,
    STEP,
    Row,
    read_rows,
)
from phenoscale.stages import StageResult, fetch_output

_ORDER: Final = (PIXEL_STATISTICS, UNTRAINED, TRAINED, ORACLE)
_STAGES: Final = {BEFORE: "before correction", FINAL: "after correction"}


@dataclass(frozen=True)
class HeadlineTable:
    """One small table; a cell is a number with its interval, empty where there is none.

    Attributes:
        title: what is measured.
        columns: heads of the columns.
        cells: by name of the line, one text per column.
    """

    title: str
    columns: tuple[str, ...]
    cells: Mapping[str, tuple[str, ...]]

    def text(self) -> str:
        """The table for a person to read."""
        first = max(len(name) for name in self.cells)
        widths = [
            max([len(head), *(len(line[place]) for line in self.cells.values())])
            for place, head in enumerate(self.columns)
        ]
        heads = "  ".join(f"{head:>{width}}" for head, width in zip(self.columns, widths, strict=True))
        lines = [self.title, f"  {'':{first}}  {heads}".rstrip()]
        for name, texts in self.cells.items():
            cells = "  ".join(f"{text:>{width}}" for text, width in zip(texts, widths, strict=True))
            lines.append(f"  {name:{first}}  {cells}".rstrip())
        return "\n".join(lines)


def headline_tables(rows: Sequence[Row]) -> tuple[HeadlineTable, ...]:
    """Recall, probe accuracy, mechanism of action and batch effects, as far as they were measured."""
    tables = [
        *_recall_tables(rows),
        *_probe_tables(rows),
        _by_step(
            "mechanism of action of the nearest treatment of another compound (NSC)",
            [row for row in rows if row.benchmark == MOA and row.metric == NSC_ACCURACY],
        ),
        _by_step(
            "plate read from the wells (balanced accuracy; near chance is good)",
            [
                row
                for row in rows
                if row.benchmark == BATCH_EFFECT and row.source == "plate" and _is_of_all(row)
            ],
        ),
    ]
    return tuple(table for table in tables if table is not None)


def encoder_tables(results: Mapping[str, StageResult]) -> tuple[HeadlineTable, ...]:
    """The headline of the rows that a run's steps left."""
    found = [result.path for result in results.values() if result.stage in ("probe", "benchmark")]
    return headline_tables([row for place in found for row in read_rows(fetch_output(place))])


def families_tables(results: Mapping[str, StageResult]) -> tuple[HeadlineTable, ...]:
    """What each of several encoders cost and knows: the columns of the report's table, group by group."""
    from phenoscale.reports.families import family_columns
    from phenoscale.reports.inputs import ReportInputs, read_num_parameters, read_training

    trainings = {
        step.removeprefix("pretrain_"): fetch_output(result.path)
        for step, result in results.items()
        if result.stage == "pretrain"
    }
    probe = fetch_output(results["probe"].path)
    inputs = ReportInputs(
        trainings={name: read_training(place) for name, place in trainings.items()},
        num_parameters=read_num_parameters(probe),
        probe_rows=read_rows(probe),
        rows=read_rows(fetch_output(results["benchmark"].path)),
    )
    return tuple(
        HeadlineTable(
            group.title,
            group.heads,
            {name: tuple(cell.text for cell in cells) for name, cells in group.cells.items()},
        )
        for group in family_columns(inputs)
    )


def _recall_tables(rows: Sequence[Row]) -> Iterable[HeadlineTable | None]:
    recall = [row for row in rows if row.benchmark == RECALL and row.metric == RECALL]
    for source in dict.fromkeys(row.source for row in recall):
        found = [row for row in recall if row.source == source]
        tails = (found[0].settings.get("lower"), found[0].settings.get("upper"))
        kept = [row for row in found if (row.settings.get("lower"), row.settings.get("upper")) == tails]
        title = f"recall of known relationships ({source}, {kept[0].n} pairs) at {tails[0]}/{tails[1]}"
        yield _by_step(title, kept)


def _by_step(title: str, rows: Sequence[Row]) -> HeadlineTable | None:
    """A table of encoders against before and after correction."""
    found = {(row.encoder, str(row.settings.get(STEP))): row for row in reversed(rows)}
    return _table(title, found, columns=_STAGES)


def _probe_tables(rows: Sequence[Row]) -> Iterable[HeadlineTable | None]:
    probes = [row for row in rows if row.benchmark == PROBE and row.metric == BALANCED_ACCURACY]
    chosen = {row.encoder: row.settings["block"] for row in probes if row.settings.get("chosen")}
    for task in dict.fromkeys(row.source for row in probes):
        found: dict[tuple[str, str], Row] = {}
        for row in probes:
            features, block = row.settings.get("features"), row.settings.get("block")
            if row.source != task:
                continue
            if features in ("embedding", "embedding+confounds") and block == chosen.get(row.encoder):
                found[row.encoder, str(features)] = (
                    row  # of several strengths the last, the strongest, is shown
                )
            elif features in ("confounds", CHANCE):
                found[str(features), "embedding"] = row
        title = f"probe of {task} at each encoder's chosen block (balanced accuracy)"
        yield _table(title, found, columns={"embedding": "alone", "embedding+confounds": "with confounds"})


def _table(
    title: str, found: Mapping[tuple[str, str], Row], *, columns: Mapping[str, str]
) -> HeadlineTable | None:
    used = [key for key in columns if any(column == key for _, column in found)]
    names = _in_order(name for name, column in found if column in columns)
    if not used or not names:
        return None
    cells = {name: tuple(_cell(found.get((name, key))) for key in used) for name in names}
    return HeadlineTable(title, tuple(columns[key] for key in used), cells)


def _in_order(names: Iterable[str]) -> list[str]:
    """The encoders in the order of the story, then everything else as it came."""
    unique = list(dict.fromkeys(names))
    return [name for name in _ORDER if name in unique] + [name for name in unique if name not in _ORDER]


def _cell(row: Row | None) -> str:
    if row is None or row.value is None:
        return ""
    number = f"{row.value:.3f}"
    return number if row.low is None or row.high is None else f"{number} [{row.low:.3f}, {row.high:.3f}]"


def _is_of_all(row: Row) -> bool:
    return row.settings.get("wells") == "all"
