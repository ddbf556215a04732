"""Report rows: the one long table that every benchmark returns; published numbers are rows too.

NaN becomes null: a value that could not be computed is absent, never a number. Here are also the words that
one package writes and another reads. Configs import this module, so it is light: Parquet is imported by need.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from phenoscale.errors import UserError
from phenoscale.files import write_atomic
from phenoscale.schema.formats import Format
from phenoscale.schema.readable import require_file

FORMAT = Format("phenoscale.rows", 1, way_out="run the benchmark again")
ROWS_FILE = "rows.parquet"
ROWS_JSON = "rows.json"

STEP: Final = "step"
"""Entry of a setting: how far the correction had gone."""
BEFORE: Final = "0_none"
FINAL: Final = "final"
ORACLE: Final = "oracle"
"""The encoder of rows about the planted truth."""
SKIPPED: Final = "skipped"
"""The metric of a row that says, as `reason`, why a benchmark has no other."""
CHANCE: Final = "chance"
"""Entry of a setting: the value of guessing; of the probe's `features`: the row of guessing."""

RECALL: Final = "recall"
"""A benchmark, and its metric."""
RECALL_WITHIN_ARM: Final = "recall_within_arm"
RECALL_ACROSS_ARMS: Final = "recall_across_arms"
RECALL_DIFFERENCE: Final = "recall_difference"
RECALL_P_VALUE: Final = "recall_p_value"
RECALL_PERMUTED: Final = "recall_permuted"
NULL_RECALL: Final = "null_recall"
CONSISTENCY: Final = "consistency"
KS_MEAN: Final = "ks_mean"
KS_POOLED: Final = "ks_pooled"
CVM_MEAN: Final = "cvm_mean"
CVM_POOLED: Final = "cvm_pooled"
MOA: Final = "moa"
NSC_ACCURACY: Final = "nsc_accuracy"
NSCB_ACCURACY: Final = "nscb_accuracy"
BATCH_EFFECT: Final = "batch_effect"
PROBE: Final = "probe"
BALANCED_ACCURACY: Final = "balanced_accuracy"


@dataclass(frozen=True)
class Row:
    """One number with its interval and its provenance.

    Attributes:
        benchmark: which benchmark, such as `recall`.
        source: what it was judged against, such as the annotation source.
        metric: what `value` is.
        setting: canonical JSON of everything that changes the number's meaning; see `canonical_setting`.
        value: the number, None when it could not be computed.
        low: lower end of its 95 % interval, None without one.
        high: upper end.
        n: how many items the value rests on.
        excluded: how many items could not be used.
        seed: seed of whatever was drawn, None when nothing was.
        encoder: digest or name of the encoder.
        map: digest or name of the map.
        citation: where a published number comes from, "" for our own.
    """

    benchmark: str
    source: str
    metric: str
    setting: str = "{}"
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    excluded: int = 0
    seed: int | None = None
    encoder: str = ""
    map: str = ""
    citation: str = ""

    def __post_init__(self) -> None:
        for name in ("value", "low", "high"):
            number = getattr(self, name)
            if number is not None:
                object.__setattr__(self, name, float(number) if math.isfinite(number) else None)
        for name in ("n", "excluded"):
            object.__setattr__(self, name, int(getattr(self, name)))

    @property
    def settings(self) -> dict[str, Any]:
        """The setting as a mapping."""
        return dict(json.loads(self.setting))


class RowTable(list[Row]):
    """Rows that know how to be read by a person: what a benchmark verb returns."""

    def text(self) -> str:
        """One line per row: value, interval, sample size, and the setting."""
        return "\n".join(map(_line, self))


def canonical_setting(**settings: Any) -> str:
    """Settings as canonical JSON: sorted keys, no spaces, no NaN; equal settings are equal strings."""
    return json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)


def rows_to_json(rows: Iterable[Row]) -> str:
    """Rows as one JSON list, NaN as null."""
    return json.dumps([asdict(row) for row in rows], allow_nan=False)


def write_rows(folder: Path, rows: Sequence[Row]) -> Path:
    """Write `rows.parquet` and `rows.json` into a folder, and return the folder."""
    import pyarrow as pa

    from phenoscale.schema.columns import with_metadata, write_parquet

    kinds = {"str": pa.string(), "float": pa.float64(), "int": pa.int64()}
    schema = pa.schema([(entry.name, kinds[str(entry.type).partition(" ")[0]]) for entry in fields(Row)])
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=schema)
    write_parquet(folder / ROWS_FILE, with_metadata(table, FORMAT.header))
    lines = ",\n ".join(json.dumps(asdict(row), allow_nan=False) for row in rows)
    write_atomic(folder / ROWS_JSON, f"[{lines}]\n".encode())
    return folder


def read_rows(path: str | Path) -> list[Row]:
    """Read rows from a folder, a Parquet file or a JSON list.

    Raises:
        UserError: no such file, or a file that is not a table of rows.
    """
    from phenoscale.schema.columns import read_metadata, read_parquet

    file = Path(path) / ROWS_FILE if Path(path).is_dir() else Path(path)
    if file.suffix == ".json":
        return [parse_row(item, source=str(file)) for item in _read_json(file)]
    table = read_parquet(file)
    FORMAT.check(read_metadata(table.schema), source=str(file))
    return [parse_row(item, source=str(file)) for item in table.to_pylist()]


def parse_row(item: Mapping[str, Any], *, source: str) -> Row:
    """Check one mapping and make the value; missing optional fields get their defaults."""
    known = {entry.name for entry in fields(Row)}
    unknown, missing = set(item) - known, {"benchmark", "source", "metric"} - set(item)
    if unknown or missing:
        raise UserError(
            f"{source} holds a row with the fields {sorted(item)}, but rows have {sorted(known)}; "
            f"remove {sorted(unknown)} and add {sorted(missing)}"
        )
    return Row(**item)


def _line(row: Row) -> str:
    name = " ".join(part for part in (row.benchmark, row.source, row.metric) if part)
    value = "no value" if row.value is None else f"{row.value:.4f}"
    interval = "" if row.low is None or row.high is None else f" [{row.low:.4f}, {row.high:.4f}]"
    return f"{name}: {value}{interval} n={row.n} excluded={row.excluded} {row.setting}"


def _read_json(file: Path) -> list[Mapping[str, Any]]:
    require_file(file, holds="a table of rows")
    try:
        items = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{file} is not readable JSON ({error}); write the rows again") from error
    if not isinstance(items, list):
        raise UserError(
            f"{file} holds a {type(items).__name__}, but rows are a JSON list; write the rows again"
        )
    return items
