"""Run the tiny demo as a user would: a real `phenoscale run full` process in a workspace of its own."""

import json
from dataclasses import dataclass
from pathlib import Path

from phenoscale.config import load_config
from phenoscale.operations.pipelines.config import config_class
from phenoscale.operations.pipelines.full import FULL
from phenoscale.operations.planning.plan import plan_pipeline
from phenoscale.recipes import find_recipe
from tests.support.programs import PHENOSCALE, Program


@dataclass(frozen=True)
class FinishedRun:
    """What `phenoscale run --json` printed, and what it said on the way."""

    steps: dict[str, dict[str, object]]
    summary: dict[str, object]
    story: str

    @property
    def reused(self) -> set[str]:
        """Steps that were not computed."""
        return {name for name, step in self.steps.items() if step["reused"]}

    @property
    def digests(self) -> dict[str, object]:
        """Digest of every output."""
        return {name: step["digest"] for name, step in self.steps.items()}


# One thread a process, so that results do not depend on the machine's load.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def start_tiny(workspace, *flags, pipeline="full", recipe="demo_tiny", environment=None, folder=None):
    """Start a tiny run, in a process group of its own, so that the whole of it can be killed."""
    words = ["run", pipeline, "--config", recipe, "--workspace", workspace, "--json", *flags]
    variables = {**ONE_THREAD, **(environment or {})}
    return Program(PHENOSCALE, *words, environment=variables, folder=folder, own_session=True)


def run_tiny(workspace, *flags, **asked):
    """Run to the end."""
    process = start_tiny(workspace, *flags, **asked)
    assert process.wait() == 0, process.errors
    summary = json.loads(process.output)
    return FinishedRun({step["step"]: step for step in summary["steps"]}, summary, process.errors)


def kill(process):
    """End a process as a power cut would."""
    process.kill()
    process.wait()


def cached_steps(workspace, **flags):
    """Steps that a run with these flags would reuse."""
    dotted = {name.replace("__", "."): value for name, value in flags.items()}
    everything = {"runtime.workspace": str(workspace), **dotted}
    config = load_config(config_class(FULL), find_recipe("demo_tiny"), flags=everything)
    return {step.step for step in plan_pipeline(config).steps if step.is_cached}


def running_step(workspace):
    """The step that a run in this workspace works on now, None between two."""
    records = sorted(Path(workspace).glob("runs/*/*/process.json"))
    return records[-1].parent.name if records else None
