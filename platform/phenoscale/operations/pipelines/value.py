"""A pipeline as one value: its steps, its settings, what a person fills in, what its summary shows.

Everything that runs, plans, compiles or describes a pipeline is made from this value. It names stages and
config fields by name and imports nothing, so that `phenoscale --help` stays light.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class At:
    """A place in the output folder of an earlier step; `path` is relative to that folder."""

    step: str
    path: str = ""


@dataclass(frozen=True)
class Given:
    """What the pipeline's config says in one of its own places, such as finished screens or an encoder."""

    place: str


@dataclass(frozen=True)
class FirstOf:
    """The first of several places that there is."""

    places: tuple[At | Given, ...]


Source = At | Given | FirstOf | tuple[At | Given, ...] | Mapping[str, At | Given]


def always(config: Any) -> bool:
    """Say that a step is part of every run."""
    return True


@dataclass(frozen=True)
class Step:
    """One step: the stage that it runs, the config section that it reads, and what fills its locations.

    Attributes:
        stage: the stage.
        variant: which of several steps of the same stage this is, such as `trained`.
        section: the config section that it reads; by default that of the stage's name.
        locations: what fills which location of the section. A place whose step is not part of the run, or
            that nobody gave, keeps what the section says.
        settings: fields of the section that this step decides.
        is_needed: given the pipeline's config, whether the step is part of the run.
    """

    stage: str
    variant: str = ""
    section: str = ""
    locations: Mapping[str, Source] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    is_needed: Callable[[Any], bool] = always

    @property
    def name(self) -> str:
        """The step's name, such as `embed_trained`."""
        return f"{self.stage}_{self.variant}" if self.variant else self.stage

    @property
    def section_name(self) -> str:
        """Name of the config section that it reads."""
        return self.section or self.stage

    @property
    def needs(self) -> tuple[str, ...]:
        """The steps whose outputs this one reads, each once, in the order of its locations."""
        found = (place.step for source in self.locations.values() for place in _places(source))
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class Section:
    """A section of the pipeline's config: the config of a stage.

    Attributes:
        stage: the stage.
        defaults: what the section says unless the config says otherwise.
        fixed: dotted fields that the config cannot say otherwise.
        optional: what it means that the section is there, where it may be left out.
    """

    stage: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    optional: str = ""


@dataclass(frozen=True)
class Place:
    """A location that the pipeline itself is given; a tuple as default means several."""

    help: str
    default: str | tuple[str, ...] = ""


@dataclass(frozen=True)
class Parameter:
    """A field of Kubeflow's page; its type, default and description are those of the config's field.

    Attributes:
        name: what the page calls it.
        fields: the dotted fields of the config that it fills.
        help: its description, where that of the field does not fit.
    """

    name: str
    fields: tuple[str, ...]
    help: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pipeline:
    """A pipeline.

    Attributes:
        name: its name: `run NAME`, `plan NAME`, `compile NAME`.
        summary: what it does, in one line of help.
        description: what it does, for the help of `run NAME`.
        steps: its steps, each after those that it reads.
        sections: the sections of its config.
        places: locations of its config that belong to no section.
        parameters: what a person can fill in Kubeflow's page, beside what all pipelines ask.
        examples: command lines that work, without the leading `phenoscale run`.
        tables: "module:function" that takes the results by step and returns the tables of the summary.
    """

    name: str
    summary: str
    description: str
    steps: tuple[Step, ...]
    sections: Mapping[str, Section]
    places: Mapping[str, Place] = field(default_factory=dict)
    parameters: tuple[Parameter, ...] = ()
    examples: tuple[str, ...] = ()
    tables: str = "phenoscale.operations.running.headline:encoder_tables"

    def find_step(self, name: str) -> Step:
        """The step of this name."""
        found = [step for step in self.steps if step.name == name]
        assert found, f"{name} is no step of the pipeline {self.name}"
        return found[0]


def _places(source: Source) -> tuple[At, ...]:
    """Every place in an output that a source names."""
    if isinstance(source, FirstOf):
        source = source.places
    entries = (
        source.values() if isinstance(source, Mapping) else source if isinstance(source, tuple) else (source,)
    )
    return tuple(entry for entry in entries if isinstance(entry, At))
