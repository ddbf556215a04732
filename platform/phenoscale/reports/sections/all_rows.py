"""Every benchmark row, to be sorted and filtered."""

from __future__ import annotations

from collections.abc import Sequence

from phenoscale.reports.figures.palette import in_order
from phenoscale.reports.inputs import ReportInputs
from phenoscale.reports.markup import Content, Markup, code, interval, join, number, tag
from phenoscale.reports.sections.section import Section
from phenoscale.schema.rows import Row

TABLE_NAME = "rows-table"
MAX_ROWS = 2000
_HEADER = (
    "benchmark",
    "source",
    "metric",
    "encoder",
    "value",
    "95 % interval",
    "setting",
    "n",
    "excluded",
    "map",
)
_NUMERIC = ("value", "n", "excluded")


def rows_section(inputs: ReportInputs) -> Section:
    """The long table of everything that was measured."""
    rows = in_reading_order([*inputs.rows, *inputs.probe_rows])
    return Section(
        name="rows",
        title="All numbers",
        lead="Every row of every benchmark, with the setting that changes its meaning.",
        body=_body(rows) if rows else None,
        absent="No benchmark or probe rows were given.",
    )


def in_reading_order(rows: Sequence[Row]) -> list[Row]:
    """One benchmark after the other, in each the trained encoder first; otherwise as they come."""
    benchmarks = list(dict.fromkeys(row.benchmark for row in rows))
    encoders = in_order(row.encoder for row in rows)
    return sorted(rows, key=lambda row: (benchmarks.index(row.benchmark), encoders.index(row.encoder)))


def _body(rows: Sequence[Row]) -> Markup:
    search = tag(
        "div",
        tag(
            "input",
            type="search",
            placeholder="Filter: recall trained …",
            data_filters=TABLE_NAME,
            aria_label="Filter the rows",
        ),
        tag("output", f"{len(rows)} rows"),
        class_="filter",
    )
    head = tag("tr", *(tag("th", name, class_="number" if name in _NUMERIC else None) for name in _HEADER))
    body = [tag("tr", *_cells(row)) for row in rows[:MAX_ROWS]]
    listing = tag("table", tag("thead", head), tag("tbody", *body), id=TABLE_NAME, class_="sortable")
    rest = f"The first {MAX_ROWS} of {len(rows)} rows are shown." if len(rows) > MAX_ROWS else None
    return join([search, tag("div", listing, class_="table-scroll"), rest])


def _cells(row: Row) -> list[Content]:
    settings = ", ".join(f"{key} {value}" for key, value in row.settings.items() if value not in (None, ""))
    name = row.benchmark if not row.citation else f"{row.benchmark} ({row.citation})"
    return [
        tag("td", name),
        tag("td", row.source),
        tag("td", row.metric),
        tag("td", _short(row.encoder)),
        tag("td", number(row.value), class_="number"),
        tag("td", interval(row.low, row.high)),
        tag("td", tag("small", settings), class_="setting"),
        tag("td", f"{row.n:,}", class_="number"),
        tag("td", f"{row.excluded:,}", class_="number"),
        tag("td", _short(row.map)),
    ]


def _short(name: str) -> Content:
    """A digest by its first digits, a name as it is."""
    is_digest = len(name) == 64 and all(sign in "0123456789abcdef" for sign in name)
    return code(name[:12]) if is_digest else name
