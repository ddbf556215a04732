"""`benchmark list`: every benchmark with its measure, needs, cost and source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from phenoscale.benchmarks.benchmark import Input
from phenoscale.benchmarks.catalog import CATALOG
from phenoscale.benchmarks.suite.config import ListConfig
from phenoscale.errors import UserError


class BenchmarkList(dict[str, dict[str, Any]]):
    """Benchmarks that know how to be read by a person: the answer of `benchmark list`."""

    def text(self) -> str:
        """A few lines per benchmark."""
        return "\n".join(_entry(name, found) for name, found in self.items())


def run_list(config: ListConfig) -> BenchmarkList:
    """The benchmarks, or the named ones.

    Raises:
        UserError: a name that is no benchmark.
    """
    names = [name.replace("_", "-") for name in config.names]
    unknown = [name for name in names if name not in CATALOG]
    if unknown:
        raise UserError(
            f"there is no benchmark {', '.join(unknown)}; there are {', '.join(CATALOG)}; "
            "see `phenoscale benchmark list`"
        )
    return BenchmarkList({name: _described(name) for name in names or CATALOG})


def _described(name: str) -> dict[str, Any]:
    line = CATALOG[name]
    found = line.load()
    needs = [_named(part.needs) for part in found.parts if part.needs]
    return {
        "measures": line.measures,
        "needs": needs[0] if len(needs) == 1 else [" or ".join(" and ".join(each) for each in needs)],
        "uses": [text for part in found.parts for text in _named(part.uses)],
        "cost": found.cost,
        "source": found.source,
        "in_suite": found.in_suite,
        "in_stage": bool(found.in_stage),
    }


def _named(inputs: Sequence[Input]) -> list[str]:
    return [f"{each.name.replace('_', '-')} {each.note}".strip() for each in inputs]


def _entry(name: str, found: dict[str, Any]) -> str:
    marks = "".join(f" [{mark}]" for mark in ("suite", "stage") if found[f"in_{mark}"])
    lines = [f"{name}{marks}: {found['measures']}"]
    lines.append(f"    needs  {'; '.join(filter(None, found['needs'])) or 'nothing'}")
    if found["uses"]:
        lines.append(f"    uses   {'; '.join(found['uses'])}")
    return "\n".join([*lines, f"    cost   {found['cost']}", f"    from   {found['source']}"])
