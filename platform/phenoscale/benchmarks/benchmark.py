"""A benchmark is one value: its verb, its place in the list, in the suite and in the stage come from it.

This module and those that hold the values are light, because `--help` reads them; what computes is named
as "module:function" and imported when it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from phenoscale.references import find

if TYPE_CHECKING:
    from phenoscale.config import Config

_ALONE: Final = "phenoscale.benchmarks.run:run_alone"


@dataclass(frozen=True)
class Input:
    """Something that a benchmark reads.

    Attributes:
        name: field of the benchmark's config that says where it is.
        reader: "module:function" that reads it; empty where the benchmark reads it itself.
        locate: "module:function" that turns the field's value into the place that the reader takes.
        beside: further fields that the reader takes, as keywords.
        given_as: field of the suite and of the stage that fills it; by default of the same name.
        note: what of it counts, for the list.
    """

    name: str
    reader: str = ""
    locate: str = ""
    beside: tuple[str, ...] = ()
    given_as: str = ""
    note: str = ""

    @property
    def source(self) -> str:
        """The field of the suite and of the stage that fills it."""
        return self.given_as or self.name

    @property
    def flag(self) -> str:
        """How the command line names it."""
        return "--" + self.name.replace("_", "-")


@dataclass(frozen=True, kw_only=True)
class Part:
    """One question of a benchmark.

    Attributes:
        needs: what must be given; the rows speak of the first one, such as a map.
        uses: what is read where it is given.
        rows: "module:function" that takes the first input, and by keyword `config` and the other inputs by
            their names; it returns rows.
    """

    needs: tuple[Input, ...]
    uses: tuple[Input, ...] = ()
    rows: str = ""

    @property
    def subject(self) -> Input:
        """What the rows speak of."""
        return self.needs[0]

    @property
    def inputs(self) -> tuple[Input, ...]:
        """Everything that is read for it."""
        return tuple(each for each in (*self.needs, *self.uses) if each.reader)


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One `benchmark NAME`.

    Attributes:
        name: its verb, and with underscores its section of the stage's config.
        config: its settings.
        parts: its questions; a benchmark asks those whose first input is given.
        cost: what the time grows with.
        source: who defined it.
        examples: command lines that work, without the leading `phenoscale`.
        positional: config fields that may be given without their flag.
        function: "module:function" that answers the verb from the config; by default it gives the rows.
        in_suite: whether `benchmark suite` runs it where its inputs are given.
        suite_settings: settings in the suite that are not the defaults.
        in_stage: whether the stage runs it for every encoder; "required" where a refusal of what was given
            ends the stage, "optional" where it becomes a row that says why.
        corrected_settings: settings in the stage for wells that a map has corrected.
        oracle_settings: settings in the stage for the map of the planted truth, None where it is not asked.
    """

    name: str
    config: type[Config]
    parts: tuple[Part, ...] = ()
    cost: str
    source: str
    examples: tuple[str, ...] = ()
    positional: tuple[str, ...] = ()
    function: str = ""
    in_suite: bool = False
    suite_settings: Mapping[str, Any] = field(default_factory=dict)
    in_stage: Literal["", "required", "optional"] = ""
    corrected_settings: Mapping[str, Any] = field(default_factory=dict)
    oracle_settings: Mapping[str, Any] | None = None

    @property
    def row_name(self) -> str:
        """Its name in rows and in configs."""
        return self.name.replace("-", "_")

    @property
    def verb(self) -> str:
        """Its name on the command line."""
        return f"benchmark {self.name}"

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that make its rows."""
        references = [part.rows for part in self.parts]
        references += [
            place for part in self.parts for each in part.inputs for place in (each.reader, each.locate)
        ]
        return tuple(dict.fromkeys(place.partition(":")[0] for place in references if place))

    def run(self, config: Config) -> Any:
        """Answer the verb."""
        return find(self.function)(config) if self.function else find(_ALONE)(self, config=config)
