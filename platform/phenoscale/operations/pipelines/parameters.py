"""What a person can fill in Kubeflow's page: names, types, defaults and descriptions of config fields."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic.fields import FieldInfo

from phenoscale.config.flags import sections_in
from phenoscale.operations.pipelines.config import PipelineConfig, config_class
from phenoscale.operations.pipelines.value import Parameter, Pipeline

RECIPE: Final = "recipe"
SETTINGS: Final = "settings"
RUN: Final = "run"
_SHARED: Final = (
    Parameter("workspace", ("runtime.workspace",)),
    Parameter("name", ("name",)),
    Parameter("tracking_uri", ("runtime.tracking_uri",)),
)


@dataclass(frozen=True)
class PageField:
    """One field of Kubeflow's page.

    Attributes:
        name: what the page calls it.
        kind: str, int, float or bool.
        default: what it holds unless a person fills it; then recipe, settings and config decide.
        help: its description.
        fields: the dotted fields of the config that it fills.
    """

    name: str
    kind: type
    default: str | int | float | bool
    help: str
    fields: tuple[str, ...] = ()


def page_fields(pipeline: Pipeline) -> tuple[PageField, ...]:
    """Every field of a pipeline's page, in order."""
    return (
        PageField(RECIPE, str, "", "recipe of the package, such as demo; empty: none"),
        PageField(
            SETTINGS, str, "", "address of a YAML file with further settings, which win over the recipe's"
        ),
        *(_page_field(parameter, pipeline=pipeline) for parameter in (*_SHARED, *pipeline.parameters)),
        PageField(RUN, str, "", "name of the folder with the run's records; empty: Kubeflow's id of the run"),
    )


def filled_fields(pipeline: Pipeline, values: Mapping[str, Any]) -> dict[str, Any]:
    """What a person filled, by dotted config field; a page field left at its default says nothing."""
    return {
        field: values[page.name]
        for page in page_fields(pipeline)
        for field in page.fields
        if page.name in values and values[page.name] != page.default
    }


def _page_field(parameter: Parameter, *, pipeline: Pipeline) -> PageField:
    info = _field_info(config_class(pipeline), parameter.fields[0])
    default = info.get_default(call_default_factory=True, validated_data={})
    options = [option for option in _options(info.annotation) if option is not type(None)]
    kind = options[0] if options[0] in (int, float, bool) else str
    if isinstance(default, list | tuple):
        default = ",".join(default)
    note = "; 0: not given" if default is None and kind is not str else ""
    text = (parameter.help or info.description or "") + note
    return PageField(parameter.name, kind, kind() if default is None else default, text, parameter.fields)


def _field_info(config: type[PipelineConfig], field: str) -> FieldInfo:
    head, *rest = field.split(".")
    info = config.model_fields[head]
    for name in rest:
        (section,) = set(sections_in(info.annotation))
        info = section.model_fields[name]
    return info


def _options(annotation: Any) -> tuple[Any, ...]:
    """The types that a field takes: one, or those of a union."""
    if isinstance(annotation, type):
        return (annotation,)
    return typing.get_args(annotation) or (annotation,)
