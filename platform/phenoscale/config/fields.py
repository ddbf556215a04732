"""The base of every config, and its kinds of field: settings change results, locations and runtime do not."""

from __future__ import annotations

from typing import Any, Literal

import pydantic
from pydantic.fields import FieldInfo

FieldKind = Literal["setting", "location", "runtime"]


class Config(pydantic.BaseModel):
    """A frozen config: unknown keys and non-finite numbers are refused."""

    model_config = pydantic.ConfigDict(
        frozen=True,
        extra="forbid",
        protected_namespaces=(),
        allow_inf_nan=False,
        use_attribute_docstrings=False,
    )


def setting(default: Any = ..., *, help: str, **constraints: Any) -> Any:
    """Declare a field that changes the result, and so enters the fingerprint.

    Args:
        default: the value when none is given; without one the field is required. For a value built anew each
            time pass `default_factory=` instead.
        help: the sentence that `--help` shows.
        constraints: what pydantic.Field takes: gt, ge, lt, le, min_length, pattern, default_factory, ...
    """
    return _declare("setting", default, help=help, constraints=constraints)


def location(default: Any = "", *, help: str, in_place: bool = False, **constraints: Any) -> Any:
    """Declare a path or URI; an input enters a stage's key by its digest, not by its place.

    Args:
        default: as for a setting.
        help: as for a setting.
        in_place: raw data in a bucket are read there; elsewhere only outputs of stages may lie in one.
        constraints: as for a setting.
    """
    return _declare("location", default, help=help, constraints=constraints, in_place=in_place)


def runtime(default: Any, *, help: str, **constraints: Any) -> Any:
    """Declare a field that says where and how fast to run, never what comes out: device, workers, logging."""
    return _declare("runtime", default, help=help, constraints=constraints)


def field_kind(info: FieldInfo) -> FieldKind:
    """Return a field's kind; an undeclared field (a section, a discriminator) counts as a setting."""
    extra = info.json_schema_extra
    kind = extra.get("kind") if isinstance(extra, dict) else None
    if kind == "location":
        return "location"
    return "runtime" if kind == "runtime" else "setting"


def is_read_in_place(info: FieldInfo) -> bool:
    """Whether a location may be raw data in a bucket."""
    extra = info.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("in_place"))


def _declare(kind: FieldKind, default: Any, *, help: str, constraints: dict[str, Any], **extra: bool) -> Any:
    if "default_factory" not in constraints:
        constraints = {"default": default, **constraints}
    return pydantic.Field(description=help, json_schema_extra={"kind": kind, **extra}, **constraints)


class Runtime(Config):
    """Where and how a verb runs; nothing here changes what it computes."""

    workspace: str = runtime(
        "phenoscale-workspace", help="folder or s3://bucket/prefix that holds the outputs of all stages"
    )
    device: str = runtime("auto", help="auto, cpu, cuda or cuda:N; auto takes a GPU when there is one")
    num_workers: int = runtime(2, ge=0, help="threads that read and decode")
    launcher: str = runtime(
        "",
        help="where a stage runs: in_process or processes; empty: processes, if num_processes is above 1",
    )
    num_processes: int = runtime(1, ge=1, help="processes that train together on this machine")
    tracking_uri: str = runtime("", help="MLflow server; empty: a SQLite file in a local workspace")
    experiment_name: str = runtime("phenoscale", help="MLflow experiment that holds the runs")
    parent_run_id: str = runtime("", help="MLflow run under which this one is nested")
