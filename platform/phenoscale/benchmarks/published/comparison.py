"""Published numbers put beside own rows, each with what differs in its setting.

Numbers belong together when benchmark, source and metric are the same. Settings are compared by the names
that the published number has; what describes its spread is no setting of the measurement.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from phenoscale.benchmarks.published.numbers import published_rows
from phenoscale.schema.rows import CHANCE, CONSISTENCY, CVM_MEAN, CVM_POOLED, KS_MEAN, KS_POOLED, Row

Key = tuple[str, str, str]

SPREADS: Final = ("std", "mad", "std_at_most")
_NOT_COMPARED: Final = (*SPREADS, CHANCE)
# What selects wells: a number of other wells is another number, and not the same one in another setting.
_SELECTING: Final = ("cell_type", "perturbation_type", "timepoint_h")
# Published as one number, measured in two ways (science.md 8.2).
_PUBLISHED_AS: Final = {
    (CONSISTENCY, KS_POOLED): "ks",
    (CONSISTENCY, KS_MEAN): "ks",
    (CONSISTENCY, CVM_POOLED): "cvm",
    (CONSISTENCY, CVM_MEAN): "cvm",
}


@dataclass(frozen=True)
class Beside:
    """A published number, and how its setting compares with that of the own rows.

    Attributes:
        row: the number.
        differs: settings whose value is another, each with the own value.
        unknown: settings that the own rows do not say.
    """

    row: Row
    differs: Mapping[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()

    @property
    def mark(self) -> str:
        """What differs, in words; "" for the very same setting."""
        other = ", ".join(f"{name} (here {value})" for name, value in self.differs.items())
        parts = [f"differs in {other}"] if other else []
        return "; ".join([*parts, *([f"not known here: {', '.join(self.unknown)}"] if self.unknown else [])])

    @property
    def place(self) -> dict[str, Any]:
        """The settings that say what was measured."""
        return {name: value for name, value in self.row.settings.items() if name not in _NOT_COMPARED}


@dataclass(frozen=True)
class Comparison:
    """Numbers of one benchmark, source and metric.

    Attributes:
        benchmark: as in the rows.
        source: as in the rows.
        metric: as in the rows.
        own: what we measured, alike in all settings that are compared.
        published: what the literature says.
    """

    benchmark: str
    source: str
    metric: str
    own: tuple[Row, ...]
    published: tuple[Beside, ...]

    @property
    def name(self) -> str:
        """Benchmark, source and metric in a line."""
        parts = (self.benchmark, self.source, self.metric)
        return " ".join(dict.fromkeys(part for part in parts if part))


def compare(
    own: Iterable[Row], *, published: Sequence[Row] | None = None, facts: Mapping[str, Any] | None = None
) -> list[Comparison]:
    """Put published numbers beside own rows; own rows without a published counterpart are left out.

    Of own rows that differ in compared settings, such as tails, those nearest to a published one are kept.

    Args:
        own: own rows; those without a value are left out.
        published: published numbers, None for all.
        facts: settings of the own rows that they do not say themselves.
    """
    known = by_key(published_rows() if published is None else published)
    groups: dict[tuple[Key, str], list[Row]] = {}
    for row in own:
        if row.value is None or row.citation:
            continue
        here = {**(facts or {}), **row.settings}
        for key in _published_keys(row, known):
            groups.setdefault((key, _compared_text(here, known[key])), []).append(row)
    closest: dict[Key, list[Comparison]] = {}
    for (key, _), rows in groups.items():
        here = {**(facts or {}), **rows[0].settings}
        beside = [_beside(row, here=here) for row in known[key] if _is_of_same_wells(row, here=here)]
        if beside:
            first = rows[0]
            found = Comparison(first.benchmark, first.source, first.metric, tuple(rows), tuple(beside))
            closest.setdefault(key, []).append(found)
    return [found for alike in closest.values() for found in _nearest(alike)]


def published_settings() -> frozenset[str]:
    """Names of the settings by which published numbers are compared."""
    names = {name for row in published_rows() for name in row.settings}
    return frozenset(names - set(_NOT_COMPARED))


def by_key(rows: Iterable[Row]) -> dict[Key, list[Row]]:
    """Rows by benchmark, source and metric, in names that spelling does not change."""
    found: dict[Key, list[Row]] = {}
    for row in rows:
        found.setdefault(_key(row), []).append(row)
    return found


def folded(name: str) -> str:
    """A name without case and signs: hu.MAP and HuMAP are one source, jump-siblings is jump_siblings."""
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def _nearest(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Those whose setting comes nearest to a published one: rows at other tails are not shown again."""
    distances = [min(len(number.differs) for number in found.published) for found in comparisons]
    nearest = min(distances)
    return [found for found, far in zip(comparisons, distances, strict=True) if far == nearest]


def _key(row: Row) -> Key:
    metric = _PUBLISHED_AS.get((row.benchmark, row.metric), row.metric)
    return folded(row.benchmark), folded(row.source), metric


def _published_keys(row: Row, known: Mapping[Key, Sequence[Row]]) -> list[Key]:
    """The published numbers that a row is set beside: of its source, of every one where it states none."""
    key = _key(row)
    if row.source or key in known:
        return [key] if key in known else []
    return [other for other in known if (other[0], other[2]) == (key[0], key[2])]


def _compared_text(here: Mapping[str, Any], published: Sequence[Row]) -> str:
    """The own settings that published ones are compared with: rows that share them stand together."""
    names = {name for known in published for name in known.settings} - set(_NOT_COMPARED)
    return repr(sorted((name, str(here[name])) for name in names & set(here)))


def _beside(row: Row, *, here: Mapping[str, Any]) -> Beside:
    theirs = {name: value for name, value in row.settings.items() if name not in _NOT_COMPARED}
    differs = {
        name: str(here[name])
        for name, value in theirs.items()
        if name in here and not _is_same(value, here[name])
    }
    return Beside(row, differs, tuple(name for name in theirs if name not in here))


def _is_of_same_wells(row: Row, *, here: Mapping[str, Any]) -> bool:
    theirs = row.settings
    return all(_is_same(theirs[name], here[name]) for name in _SELECTING if name in theirs and name in here)


def _is_same(first: Any, second: Any) -> bool:
    try:
        return abs(float(first) - float(second)) < 1e-9
    except (TypeError, ValueError):
        return str(first).casefold() == str(second).casefold()
