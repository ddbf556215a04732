"""Every launcher by name. To add one: a file beside this one, and a line here.

A launcher runs a stage somewhere and returns its result. It gets the name of the stage, its config, and the
observer that is called with (step, metrics) in this process, wherever the stage runs. What fails there ends
here with an error of the same exit code.
"""

from __future__ import annotations

from typing import Final, Protocol

from phenoscale.config import Config, Runtime
from phenoscale.distributed import world_size
from phenoscale.errors import UserError
from phenoscale.operations.stage_table import find_stage
from phenoscale.references import find
from phenoscale.stages import Observer, StageResult

IN_PROCESS: Final = "in_process"
PROCESSES: Final = "processes"

LAUNCHERS: dict[str, str] = {
    IN_PROCESS: "phenoscale.operations.launchers.in_process:launch",
    PROCESSES: "phenoscale.operations.launchers.processes:launch",
}


class Launcher(Protocol):
    """What runs a stage somewhere."""

    def __call__(self, stage: str, config: Config, *, observe: Observer) -> StageResult:
        """Run a stage and return its result."""


def find_launcher(stage: str, config: Config) -> Launcher:
    """The launcher that a config asks for.

    Raises:
        UserError: there is none of this name.
    """
    name = _chosen_name(stage, config)
    if name not in LAUNCHERS:
        raise UserError(
            f"there is no launcher {name!r}; set runtime.launcher to one of {', '.join(LAUNCHERS)}"
        )
    launcher: Launcher = find(LAUNCHERS[name])
    return launcher


def _chosen_name(stage: str, config: Config) -> str:
    runtime: Runtime = getattr(config, "runtime", None) or Runtime()
    if world_size() > 1:
        return IN_PROCESS  # something else has launched this process already, as one of several
    if runtime.launcher:
        return runtime.launcher
    return PROCESSES if runtime.num_processes > 1 and find_stage(stage).check_ranks else IN_PROCESS
