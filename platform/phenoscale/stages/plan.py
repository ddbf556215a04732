"""Ask a stage for its key and whether it is cached, without running it."""

from __future__ import annotations

import contextvars
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from phenoscale.config import Config
from phenoscale.stages.inputs import Input

_IS_PLANNING: Final = contextvars.ContextVar("phenoscale_is_planning", default=False)


@dataclasses.dataclass(frozen=True)
class StagePlan:
    """What a stage would do: its key, output folder and inputs, and whether the output is there already."""

    stage: str
    key: str
    path: Path
    is_cached: bool
    inputs: tuple[Input, ...]


class _Planned(BaseException):
    """Carries a plan out of a stage that was only asked for it, past any `except Exception`."""

    def __init__(self, plan: StagePlan) -> None:
        super().__init__(plan.key)
        self.plan = plan


def plan_stage(function: Callable[..., Any], config: Config) -> StagePlan:
    """Return the plan of the stage that `function(config)` would run; nothing is computed or written.

    Args:
        function: a `run_<stage>` function: it checks its config and calls run_stage.
        config: its config.

    Raises:
        UserError: when the config or an input is wrong.
    """
    token = _IS_PLANNING.set(True)
    try:
        function(config)
    except _Planned as planned:
        return planned.plan
    finally:
        _IS_PLANNING.reset(token)
    raise AssertionError(f"{function.__name__} ran without calling run_stage")


def stop_if_planning(plan: StagePlan) -> None:
    """Leave the stage with its plan when only that was asked for."""
    if _IS_PLANNING.get():
        raise _Planned(plan)
