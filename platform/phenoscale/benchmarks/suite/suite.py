"""`benchmark suite`: every benchmark that the inputs allow, in one pass over what they share.

An input that is given but cannot be read ends the suite before the first benchmark. A benchmark whose inputs
are not given, or which refuses them, becomes a row `skipped` with the reason: it does not end the others.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from phenoscale.benchmarks.benchmark import Benchmark, Part
from phenoscale.benchmarks.catalog import load_all
from phenoscale.benchmarks.run import ReadOnce, lacking, score_or_skip, skipped
from phenoscale.benchmarks.suite.config import SuiteConfig
from phenoscale.config import Config
from phenoscale.errors import UserError
from phenoscale.logs import get_logger
from phenoscale.schema.rows import SKIPPED, Row, RowTable, write_rows
from phenoscale.stages import Observer, ignore
from phenoscale.storage import check_output_folder

_SUBJECTS: Final = ("map", "embeddings", "profiles")
_SHARED_SETTINGS: Final = ("seed", "curve")

logger = get_logger(__name__)


@dataclass(frozen=True)
class _Question:
    """A part of a benchmark with the config that the suite asks it with."""

    benchmark: Benchmark
    part: Part
    config: Config
    lacking: str


class SuiteRows(RowTable):
    """Rows of the suite, read by a person benchmark by benchmark, with a table of what was skipped."""

    def text(self) -> str:
        """A heading per benchmark, a line per row with the settings in which the rows differ."""
        blocks = [
            "\n".join([name, *_lines([row for row in self if row.benchmark == name and not _is_skip(row)])])
            for name in dict.fromkeys(row.benchmark for row in self if not _is_skip(row))
        ]
        skips = [f"  {row.benchmark:<24} {row.settings['reason']}" for row in self if _is_skip(row)]
        return "\n\n".join([*blocks, *(["\n".join(["skipped", *skips])] if skips else [])])


def run_suite(config: SuiteConfig, *, observe: Observer = ignore) -> SuiteRows:
    """Everything that the inputs allow.

    Raises:
        UserError: no input at all, a benchmark that is not in the suite, an input that cannot be read, or
            inputs with which nothing runs.
    """
    questions = _questions(config)
    check_output_folder(config.output)
    read = ReadOnce()
    for asked in questions:
        if not asked.lacking:
            read.all(asked.part, asked.config)
    rows: list[Row] = []
    for number, asked in enumerate(questions, start=1):
        rows += _ask(asked, read=read)
        observe(number, {"num_rows": float(len(rows))})
    if all(map(_is_skip, rows)):
        raise UserError(f"no benchmark could run: {_why_none(rows, questions)}")
    if config.output:
        write_rows(Path(config.output), rows)
    return SuiteRows(rows)


def _questions(config: SuiteConfig) -> list[_Question]:
    """Those of the chosen benchmarks, of maps before wells before profiles."""
    known = {name: found for name, found in load_all().items() if found.in_suite}
    only = [name.replace("_", "-") for name in config.only]
    unknown = [name for name in only if name not in known]
    if unknown:
        raise UserError(
            f"benchmark suite has no {', '.join(unknown)}; it has {', '.join(known)}; give --only one of them"
        )
    if not any(getattr(config, name) for name in _SUBJECTS):
        raise UserError(
            "benchmark suite needs --map, --embeddings or --profiles, got none of them; see `benchmark list` "
            "for what each benchmark needs"
        )
    found = [
        _Question(benchmark, part, _config_of(benchmark, part, config=config), lacking(part.needs, config))
        for name, benchmark in known.items()
        if not only or name in only
        for part in benchmark.parts
    ]
    return sorted(found, key=lambda asked: _SUBJECTS.index(asked.part.subject.source))


def _config_of(benchmark: Benchmark, part: Part, *, config: SuiteConfig) -> Config:
    """The settings of a benchmark with the suite's inputs, seed and tails."""
    settings: dict[str, Any] = {each.name: getattr(config, each.source, "") for each in part.inputs}
    shared = [name for each in part.inputs for name in each.beside]
    shared += [name for name in _SHARED_SETTINGS if name in benchmark.config.model_fields]
    settings |= {name: getattr(config, name) for name in shared}
    return benchmark.config(**{**settings, **benchmark.suite_settings})


def _ask(asked: _Question, *, read: ReadOnce) -> list[Row]:
    if asked.lacking:
        return [skipped(asked.benchmark, reason=asked.lacking)]
    started = time.perf_counter()
    given = read.all(asked.part, asked.config)
    rows = score_or_skip(asked.benchmark, asked.part, config=asked.config, given=given)
    logger.info("%s: %d rows in %.2f s", asked.benchmark.name, len(rows), time.perf_counter() - started)
    return rows


def _why_none(rows: Sequence[Row], questions: Sequence[_Question]) -> str:
    """The reasons of the benchmarks that have their inputs, each once; those of all where none has."""
    benchmarks: dict[str, list[str]] = {}
    for row in rows:
        benchmarks.setdefault(str(row.settings["reason"]), []).append(row.benchmark)
    lacks = {asked.lacking for asked in questions}
    refusals = [reason for reason in benchmarks if reason not in lacks]
    return "; ".join(
        f"{', '.join(dict.fromkeys(benchmarks[reason]))}: {reason}" for reason in refusals or benchmarks
    )


def _is_skip(row: Row) -> bool:
    return row.metric == SKIPPED


def _lines(rows: Sequence[Row]) -> list[str]:
    settings = [row.settings for row in rows]
    names = dict.fromkeys(name for found in settings for name in found)
    varying = [name for name in names if len({str(found.get(name)) for found in settings}) > 1]
    lines = []
    for row, found in zip(rows, settings, strict=True):
        value = "no value" if row.value is None else f"{row.value:.4g}"
        interval = "" if row.low is None or row.high is None else f" [{row.low:.4g}, {row.high:.4g}]"
        words = [f"{name} {found[name]}" for name in varying if name in found]
        counts = f"n={row.n} excluded={row.excluded}"
        place = " ".join(filter(None, [row.source, row.metric]))
        lines.append(f"  {place:<46} {value + interval:<30} {counts:<24} {', '.join(words)}".rstrip())
    return lines
