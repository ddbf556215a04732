"""Run benchmarks over given inputs: the one way in which a verb, the suite and the stage get their rows.

Each place is read once, however many benchmarks ask for it. Inputs are read before anything is computed: one
that cannot be read is a mistake that ends everything, while a benchmark that refuses what was read may become
a row `skipped` with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from phenoscale.benchmarks.benchmark import Benchmark, Input, Part
from phenoscale.config import Config, field_kind
from phenoscale.errors import UserError
from phenoscale.logs import get_logger
from phenoscale.references import find
from phenoscale.schema.maps import PerturbationMap
from phenoscale.schema.rows import SKIPPED, Row, RowTable, canonical_setting
from phenoscale.storage import check_output_file

logger = get_logger(__name__)


class ReadOnce:
    """What was read, by reader and place."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, ...], Any] = {}

    def __call__(self, wanted: Input, place: Any, **beside: Any) -> Any:
        """The input at a place, read now or before."""
        located = find(wanted.locate)(place) if wanted.locate else place
        key = (wanted.name, wanted.reader, str(located), *map(str, beside.values()))
        if key not in self._found:
            self._found[key] = find(wanted.reader)(located, **beside)
        return self._found[key]

    def all(self, part: Part, config: Config) -> dict[str, Any]:
        """Every input of a part that its config names, the first one first."""
        return {
            each.name: self(each, place, **{name: getattr(config, name) for name in each.beside})
            for each in part.inputs
            if (place := getattr(config, each.name))
        }

    def forget(self, wanted: Input) -> None:
        """Let go of what was read as this input: tables of wells are large."""
        self._found = {key: value for key, value in self._found.items() if key[0] != wanted.name}


def run_alone(benchmark: Benchmark, *, config: Config) -> RowTable:
    """The rows of one benchmark, with every part whose first input is given.

    Raises:
        UserError: an input that is not given or cannot be read, an output that cannot be written, or what
            the benchmark refuses.
    """
    asked = [part for part in benchmark.parts if getattr(config, part.subject.name)]
    for part in asked:
        for each in part.needs:
            if not getattr(config, each.name):
                raise _missing(benchmark, each)
    if not asked:
        raise _missing(benchmark, *(part.subject for part in benchmark.parts))
    _check_output(config)
    read = ReadOnce()
    return RowTable(row for part in asked for row in score(part, config=config, given=read.all(part, config)))


def score(part: Part, *, config: Config, given: Mapping[str, Any]) -> list[Row]:
    """The rows of a part, with the encoder and the map that they speak of.

    Raises:
        UserError: what the benchmark refuses.
    """
    subject = given[part.subject.name]
    others = {name: value for name, value in given.items() if name != part.subject.name}
    rows: Iterable[Row] = find(part.rows)(subject, config=config, **others)
    encoder = getattr(subject, "encoder", "")
    digest = subject.digest if isinstance(subject, PerturbationMap) else ""
    return [replace(row, encoder=encoder, map=digest) for row in rows]


def score_or_skip(benchmark: Benchmark, part: Part, *, config: Config, given: Mapping[str, Any]) -> list[Row]:
    """The rows of a part, or one row that says why there are none: it does not end the others."""
    try:
        return score(part, config=config, given=given)
    except UserError as error:
        return [skipped(benchmark, reason=str(error))]


def skipped(benchmark: Benchmark, *, reason: str) -> Row:
    """The row of a benchmark that did not run."""
    logger.warning("%s is skipped: %s", benchmark.name, reason)
    return Row(benchmark.row_name, "", SKIPPED, canonical_setting(reason=reason))


def lacking(inputs: Sequence[Input], config: Config) -> str:
    """Which inputs a config of many benchmarks does not name, in words; empty where it names all."""
    names = [each.source for each in inputs if not getattr(config, each.source, None)]
    return f"needs --{' and --'.join(names)}" if names else ""


def _missing(benchmark: Benchmark, *inputs: Input) -> UserError:
    """What to give: the first of several that may be given is explained."""
    flags = " or ".join(dict.fromkeys(each.flag for each in inputs))
    help_text = benchmark.config.model_fields[inputs[0].name].description
    return UserError(f"{benchmark.verb} needs {flags}, got none; give {inputs[0].flag}: {help_text}")


def _check_output(config: Config) -> None:
    """Refuse an output that cannot be written, or that is an input, before anything is read."""
    output = getattr(config, "output", "")
    if not output:
        return
    inputs: list[str] = []
    for name, info in type(config).model_fields.items():
        if field_kind(info) == "location" and name != "output":
            value = getattr(config, name)
            inputs += [value] if isinstance(value, str) else value
    check_output_file(output, inputs=inputs)
