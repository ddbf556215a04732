"""The rows that speak for an encoder, and how the numbers that a gate asks about are found among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phenoscale.registry.config import Gate
from phenoscale.schema.rows import Row, read_rows


@dataclass(frozen=True)
class Evidence:
    """The rows of benchmark and probe.

    Attributes:
        rows: all rows, of all encoders.
        names: what the rows call the encoder in question: its name or digest.
        untrained: what the rows call the untrained encoder.
    """

    rows: tuple[Row, ...]
    names: tuple[str, ...]
    untrained: str

    def of_encoder(self, gate: Gate) -> list[Row]:
        """The encoder's rows that a gate is about."""
        return matching(self.rows, gate=gate, encoders=self.names)

    def of_untrained(self, gate: Gate) -> list[Row]:
        """The same rows of the untrained encoder."""
        return matching(self.rows, gate=gate, encoders=(self.untrained,))


def gather_rows(places: Sequence[str]) -> tuple[Row, ...]:
    """Read the rows at several places; an empty place has none."""
    return tuple(row for place in places if place for row in read_rows(place))


def probe_beside(encoder: Path) -> str:
    """The folder of the probe that wrote an encoder, "" when another stage did."""
    return str(encoder.parent) if (encoder.parent / "probe.json").is_file() else ""


def matching(rows: Sequence[Row], *, gate: Gate, encoders: Sequence[str]) -> list[Row]:
    """Rows of these encoders with a gate's benchmark, metric, source and setting that have a value."""
    return [
        row
        for row in rows
        if row.encoder in encoders
        and row.benchmark == gate.benchmark
        and row.metric == gate.metric
        and gate.source in ("", row.source)
        and _agrees(row.settings, gate.where)
        and getattr(row, gate.number) is not None
    ]


def mean_number(rows: Sequence[Row], *, number: str) -> float | None:
    """Mean of one number over rows, None without rows."""
    values = [float(getattr(row, number)) for row in rows if getattr(row, number) is not None]
    return sum(values) / len(values) if values else None


def _agrees(setting: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    return all(setting.get(key) == value for key, value in where.items())
