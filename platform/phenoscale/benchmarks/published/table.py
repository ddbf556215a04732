"""`benchmark table`: own rows beside published numbers, marked where the setting differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from phenoscale.benchmarks.published.comparison import (
    Beside,
    Comparison,
    by_key,
    compare,
    folded,
    published_settings,
)
from phenoscale.benchmarks.published.numbers import published_rows
from phenoscale.benchmarks.suite.config import TableConfig
from phenoscale.errors import UserError
from phenoscale.schema.rows import Row, read_rows

_VALUE_WIDTH: Final = 22


class ComparisonTable(list[Comparison]):
    """Comparisons that know how to be read by a person: what `benchmark table` returns."""

    def text(self) -> str:
        """A block of lines per benchmark, source and metric; published numbers by their citation."""
        return "\n\n".join(map(_block, self)) if self else "no number is published that fits these rows"


def run_table(config: TableConfig) -> ComparisonTable:
    """Own rows beside the published ones; the published ones alone where no rows are given.

    Raises:
        UserError: rows that cannot be read, a benchmark or source that is not published, or a fact that no
            published number states.
    """
    _refuse_unknown_facts(config.facts)
    published = _chosen(published_rows(), config=config)
    if config.rows:
        own = [row for place in config.rows for row in read_rows(place)]
        return ComparisonTable(compare(own, published=published, facts=config.facts))
    return ComparisonTable(
        Comparison(rows[0].benchmark, rows[0].source, rows[0].metric, (), tuple(map(Beside, rows)))
        for rows in by_key(published).values()
    )


def write_value(row: Row) -> str:
    """The number as it was printed, with the spread that was printed beside it, or our interval."""
    assert row.value is not None, "a row without a value is not compared"
    value = f"{row.value:.4g}" if abs(row.value) < 1000 else f"{row.value:,.0f}"
    settings = row.settings
    if row.low is not None and row.high is not None:
        return f"{value} [{row.low:.3f}, {row.high:.3f}]"
    if "mad" in settings:
        return f"{value} ± {settings['mad']} (MAD)"
    if "std" in settings:
        return f"{value} ± {settings['std']}"
    return f"{value} ± {settings['std_at_most']} at most" if "std_at_most" in settings else value


def _refuse_unknown_facts(facts: Mapping[str, str]) -> None:
    known = published_settings()
    unknown = sorted(set(facts) - known)
    if unknown:
        raise UserError(
            f"no published number states {', '.join(unknown)}, so such facts compare nothing; known are "
            f"{', '.join(sorted(known))}"
        )


def _chosen(rows: Iterable[Row], *, config: TableConfig) -> list[Row]:
    kept = list(rows)
    for field, asked in (("benchmark", config.benchmarks), ("source", config.sources)):
        known = {folded(getattr(row, field)): getattr(row, field) for row in kept}
        unknown = [name for name in asked if folded(name) not in known]
        if unknown:
            raise UserError(
                f"no number of the {field} {', '.join(unknown)} is published here; known are "
                f"{', '.join(sorted(filter(None, known.values())))}"
            )
        wanted = {folded(name) for name in asked}
        kept = [row for row in kept if not wanted or folded(getattr(row, field)) in wanted]
    return kept


def _block(comparison: Comparison) -> str:
    lines = [comparison.name]
    if comparison.own:
        lines += ["  own", *_own_lines(comparison.own)]
    groups: dict[tuple[str, tuple[str, ...]], list[Beside]] = {}
    for number in comparison.published:
        groups.setdefault((number.row.citation, tuple(number.place)), []).append(number)
    for (citation, _), numbers in groups.items():
        lines += _published_lines(citation, numbers, is_marked=bool(comparison.own))
    return "\n".join(lines)


def _own_lines(rows: Sequence[Row]) -> list[str]:
    """Own numbers, each with the settings and the metric in which they differ."""
    said = [{"metric": row.metric, **row.settings} for row in rows]
    names = dict.fromkeys(name for found in said for name in found)
    varying = [name for name in names if len({str(found.get(name)) for found in said}) > 1 or name == "step"]
    lines = []
    for row, found in zip(rows, said, strict=True):
        words = _words({name: found[name] for name in varying if name in found})
        who = ", ".join(filter(None, [row.encoder[:12], words])) or "this map"
        lines.append(f"    {write_value(row):<{_VALUE_WIDTH}}  {who}  n={row.n} excluded={row.excluded}")
    return lines


def _published_lines(citation: str, numbers: Sequence[Beside], *, is_marked: bool) -> list[str]:
    """A heading with what the numbers of one table share, then a line for each number with the rest."""
    places = [number.place for number in numbers]
    shared = {name: places[0][name] for name in places[0] if len({str(p[name]) for p in places}) == 1}
    marks = {number.mark for number in numbers} if is_marked else {""}
    lines = ["  " + ": ".join(filter(None, [citation, _words(shared)]))]
    if marks != {""} and len(marks) == 1:
        lines.append(f"  ! {marks.pop()}")
    for number, place in zip(numbers, places, strict=True):
        own = {name: value for name, value in place.items() if name not in shared}
        who = "; ".join(filter(None, [number.row.encoder, _words(own)]))
        note = f"  ! {number.mark}" if len(marks) > 1 and number.mark else ""
        lines.append(f"    {write_value(number.row):<{_VALUE_WIDTH}}  {who}{note}".rstrip())
    return lines


def _words(place: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in place.items())
