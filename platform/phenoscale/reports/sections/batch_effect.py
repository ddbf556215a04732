"""Batch effects: what of plates, experiments and positions is still there after correction."""

from __future__ import annotations

from collections.abc import Sequence

from phenoscale.reports.benchmark_rows import before_and_after, skipped, step_of
from phenoscale.reports.figures.dumbbells import Change, draw_changes
from phenoscale.reports.figures.palette import encoder_label, in_order
from phenoscale.reports.inputs import ReportInputs
from phenoscale.reports.markup import (
    Content,
    Markup,
    explain,
    figure,
    interval,
    join,
    number,
    table,
    titled,
)
from phenoscale.reports.sections.section import Section
from phenoscale.schema.rows import BATCH_EFFECT, BEFORE, CHANCE, FINAL, Row

_TARGETS = ("plate", "experiment", "quadrant", "edge", "arm")
_TITLES = {
    "plate": "plate",
    "experiment": "experiment",
    "quadrant": "quadrant of plate",
    "edge": "edge of plate",
    "arm": "chromosome arm",
}
_WELLS = {"negative_controls": "negative controls", "all": "all wells", "map": "the map of genes"}


def batch_effect_section(inputs: ReportInputs) -> Section:
    """Predictability before and after correction."""
    rows = before_and_after(inputs.rows, benchmark=BATCH_EFFECT)
    reason = skipped(inputs.rows, benchmark=BATCH_EFFECT)
    return Section(
        name="batch-effects",
        title="Batch effects",
        lead="What should not be in the embeddings: which plate, experiment or position a well comes from.",
        body=_body(rows) if rows else None,
        absent=f"Not measured: {reason}." if reason else "No batch-effect rows were given.",
    )


def _body(rows: Sequence[Row]) -> Markup:
    changes = _changes(rows)
    caption = titled(
        "How well a nuisance can be read from the embeddings",
        "Balanced accuracy of a linear classifier; open points are before correction, full points after, "
        "the dashed line is chance. Points that move left to the line are good: what is gone from the "
        "embeddings cannot pass for biology. Below the line, too, nothing is left to read.",
    )
    drawn = draw_changes(
        changes,
        x_label="balanced accuracy",
        name="batch-effects",
        alt="Predictability of plate, experiment, position and chromosome arm before and after correction",
    )
    return join([figure(drawn, caption=caption) if changes else None, explain("The numbers", _table(rows))])


def _changes(rows: Sequence[Row]) -> list[Change]:
    found = []
    for target, wells in _panels(rows):
        for encoder in in_order(row.encoder for row in rows):
            before = _find(rows, (target, wells), encoder=encoder, step=BEFORE)
            after = _find(rows, (target, wells), encoder=encoder, step=FINAL)
            if before is None or after is None or before.value is None or after.value is None:
                continue
            chance = after.settings.get(CHANCE)
            panel = f"{_TITLES.get(target, target)}\nfrom {_WELLS.get(wells, wells)}"
            found.append(Change(panel, encoder, before=before.value, after=after.value, chance=chance))
    return found


def _panels(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Targets in a fixed order; each from negative controls, then from all wells."""
    known = list(dict.fromkeys((row.source, str(row.settings.get("wells", ""))) for row in rows))
    wells = list(_WELLS)

    def place(panel: tuple[str, str]) -> tuple[int, int]:
        target = _TARGETS.index(panel[0]) if panel[0] in _TARGETS else len(_TARGETS)
        return (wells.index(panel[1]) if panel[1] in wells else len(wells), target)

    return sorted(known, key=place)


def _find(rows: Sequence[Row], panel: tuple[str, str], *, encoder: str, step: str) -> Row | None:
    for row in rows:
        place = (row.source, str(row.settings.get("wells", "")))
        if place == panel and row.encoder == encoder and step_of(row) == step:
            return row
    return None


def _table(rows: Sequence[Row]) -> Markup:
    cells: list[list[Content]] = []
    for target, wells in _panels(rows):
        for encoder in in_order(row.encoder for row in rows):
            before = _find(rows, (target, wells), encoder=encoder, step=BEFORE)
            after = _find(rows, (target, wells), encoder=encoder, step=FINAL)
            if before is None and after is None:
                continue
            known = after or before
            assert known is not None, "one of the two is there"
            cells.append(
                [
                    _TITLES.get(target, target),
                    _WELLS.get(wells, wells),
                    encoder_label(encoder),
                    *_numbers(before),
                    *_numbers(after),
                    number(known.settings.get(CHANCE)),
                    f"{known.n:,}",
                ]
            )
    header = ["read", "from", "encoder", "before", "95 % interval", "after", "95 % interval", "chance", "n"]
    return table(header, cells, numeric=(3, 5, 7, 8))


def _numbers(row: Row | None) -> list[Content]:
    return ["—", ""] if row is None else [number(row.value), interval(row.low, row.high)]
