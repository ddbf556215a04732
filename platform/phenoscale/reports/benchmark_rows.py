"""Benchmark rows sorted into what is drawn: by source and stratum, then encoder, then correction step.

A row's setting says how far correction had gone: `step` is `0_none`, one name per step, then `final`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from phenoscale.reports.figures.palette import in_order
from phenoscale.schema.rows import BEFORE, CHANCE, FINAL, ORACLE, RECALL, SKIPPED, STEP, Row

_STEPS = {
    "center_scale": "center-scale",
    "pca": "PCA",
    "tvn": "TVN",
    FINAL: "corrected",
}
_STRATA = ("cell_type", "timepoint_h")


@dataclass(frozen=True)
class RecallTable:
    """Recall against one source in one stratum.

    Attributes:
        source: the annotation source.
        stratum: cell type and time point, "" where the map has one stratum.
        rows: plain recall rows at the tails that recall is quoted at.
        curve: plain recall rows of the final maps at all tails.
        all_rows: every recall row of this source and stratum, other metrics included.
    """

    source: str
    stratum: str
    rows: tuple[Row, ...]
    curve: tuple[Row, ...]
    all_rows: tuple[Row, ...]

    @property
    def encoders(self) -> list[str]:
        """The encoders, the trained one first and the oracle left out."""
        return in_order(row.encoder for row in self.rows if row.encoder != ORACLE)

    @property
    def steps(self) -> list[str]:
        """The correction steps in order; `final` only where nothing else is known."""
        known = list(dict.fromkeys(step_of(row) for row in self.rows if row.encoder != ORACLE))
        numbered = sorted((step for step in known if step != FINAL), key=lambda step: int(step.split("_")[0]))
        return numbered or known

    @property
    def chance(self) -> float:
        """Recall of a map without knowledge."""
        return float(self.rows[0].settings.get(CHANCE, 0.1))

    def find(self, encoder: str, *, step: str) -> Row | None:
        """The row of an encoder at a step."""
        return next((row for row in self.rows if row.encoder == encoder and step_of(row) == step), None)


def step_of(row: Row) -> str:
    """How far correction had gone."""
    return str(row.settings.get(STEP, FINAL))


def step_label(step: str) -> str:
    """A step as it is written under an axis."""
    number, _, name = step.partition("_")
    if step == BEFORE:
        return "no correction"
    return name_step(name if number.isdigit() else step)


def name_step(name: str) -> str:
    """What people call a step."""
    return _STEPS.get(name, name.replace("_", " "))


def source_label(source: str) -> str:
    """An annotation source as it is written in a sentence."""
    return {"pairs": "planted pairs"}.get(source, source)


def recall_tables(rows: Sequence[Row]) -> list[RecallTable]:
    """Recall rows by source and stratum, in the order of the rows."""
    own = [row for row in rows if row.benchmark == RECALL and row.value is not None]
    plain = [row for row in own if row.metric == RECALL]
    if not plain:
        return []
    tails = (plain[0].settings.get("lower"), plain[0].settings.get("upper"))
    places = dict.fromkeys((row.source, stratum_of(row)) for row in plain if row.encoder != ORACLE)
    tables = []
    for source, stratum in places or dict.fromkeys((row.source, stratum_of(row)) for row in plain):
        here = [row for row in own if row.source == source and stratum_of(row) in (stratum, "")]
        mine = [row for row in here if row.metric == RECALL]
        quoted = [row for row in mine if (row.settings.get("lower"), row.settings.get("upper")) == tails]
        if quoted:
            curve = tuple(row for row in mine if step_of(row) == FINAL)
            tables.append(RecallTable(source, stratum, tuple(quoted), curve, tuple(here)))
    return tables


def stratum_of(row: Row) -> str:
    """Cell type and time point of a row, "" where it has none."""
    values = [row.settings.get(name) for name in _STRATA]
    return ", ".join(str(value) for value in values if value not in (None, ""))


def headline_recall(rows: Sequence[Row]) -> RecallTable | None:
    """The table that the headline speaks of: the source with the most pairs."""
    tables = recall_tables(rows)
    return max(tables, key=lambda table: max(row.n for row in table.rows), default=None)


def before_and_after(rows: Sequence[Row], *, benchmark: str, metric: str = "") -> list[Row]:
    """Rows of a benchmark with a value, measured before or after all correction."""
    return [
        row
        for row in rows
        if row.benchmark == benchmark
        and metric in ("", row.metric)
        and row.value is not None
        and step_of(row) in (BEFORE, FINAL)
    ]


def skipped(rows: Sequence[Row], *, benchmark: str) -> str:
    """Why a benchmark has no rows, "" when nothing says so."""
    reasons = [
        str(row.settings.get("reason", ""))
        for row in rows
        if row.benchmark == benchmark and row.metric == SKIPPED
    ]
    return reasons[0] if reasons else ""
