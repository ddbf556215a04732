"""The config class of a pipeline, made from its value: one section per stage, one runtime for all."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import create_model, model_validator

from phenoscale.config import Config, Runtime, location, runtime, setting
from phenoscale.errors import UserError
from phenoscale.operations.pipelines.table import find_pipeline
from phenoscale.operations.pipelines.value import Pipeline, Step
from phenoscale.operations.stage_table import find_stage


class PipelineConfig(Config):
    """What every pipeline's config has: a name, a seed, and how to run."""

    pipeline: ClassVar[Pipeline]

    name: str = runtime("", help="name of the run in MLflow and in the summary")
    seed: int | None = setting(None, ge=0, help="seed of every stage, in place of the sections' own")
    in_process: bool = runtime(False, help="run the steps in this process, without Kubeflow: for debugging")
    runtime: Runtime = Runtime()

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps of a run with this config, in order."""
        return tuple(step for step in self.pipeline.steps if step.is_needed(self))

    def with_runtime(self, **changes: Any) -> Self:
        """The config with other values in fields of its runtime section."""
        return self.model_copy(update={"runtime": self.runtime.model_copy(update=changes)})

    @model_validator(mode="before")
    @classmethod
    def _sections_have_their_defaults(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        for name, section in cls.pipeline.sections.items():
            for given in (section.defaults, *(_nested(*item) for item in section.fixed.items())):
                data = laid_over({name: given}, data) if given else data
        return data

    @model_validator(mode="after")
    def _what_is_fixed_stays(self) -> PipelineConfig:
        for name, section in self.pipeline.sections.items():
            for field, wanted in section.fixed.items():
                found = functools.reduce(getattr, field.split("."), getattr(self, name))
                if found != wanted:
                    raise UserError(
                        f"{name}.{field} is {found!r}, but in section {name} it is always {wanted!r}; "
                        "leave it out there"
                    )
        return self


@functools.cache
def config_class(pipeline: Pipeline) -> type[PipelineConfig]:
    """The config class of a pipeline."""
    fields: dict[str, Any] = {
        "name": (str, runtime(pipeline.name, help="name of the run in MLflow and in the summary"))
    }
    for name, place in pipeline.places.items():
        kind = str if isinstance(place.default, str) else tuple[str, ...]
        fields[name] = (kind, location(place.default, help=place.help))
    for name, section in pipeline.sections.items():
        stage_config = find_stage(section.stage).load_config_class()
        if section.optional:
            fields[name] = (stage_config | None, setting(None, help=section.optional))
        else:
            fields[name] = (stage_config, stage_config())
    made: type[PipelineConfig] = create_model(
        f"{pipeline.name.capitalize()}PipelineConfig",
        __base__=PipelineConfig,
        __doc__=pipeline.description,
        __module__=__name__,
        **fields,
    )
    made.pipeline = pipeline
    return made


def __getattr__(name: str) -> type[PipelineConfig]:
    """The config class of the pipeline of this name, so that verbs can name it as `module:pipeline`."""
    if name.startswith("_"):
        raise AttributeError(name)
    return config_class(find_pipeline(name))


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings in one: what `above` says, and what `below` says where that is silent."""
    both = {
        name: laid_over(value, above[name])
        for name, value in below.items()
        if isinstance(value, Mapping) and isinstance(above.get(name), Mapping)
    }
    return {**below, **above, **both}


def _nested(field: str, value: Any) -> dict[str, Any]:
    """A dotted field as nested mappings."""
    head, _, rest = field.partition(".")
    return {head: _nested(rest, value) if rest else value}
