"""Run the tiny demo as a user would: a real `phenoscale run full` process in a workspace of its own."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from phenoscale.config import load_config
from phenoscale.operations.pipelines.config import config_class
from phenoscale.operations.pipelines.full import FULL
from phenoscale.operations.planning.plan import plan_pipeline
from phenoscale.recipes import find_recipe

# These also write when and by whom: their outputs differ between two runs of equal results.
DATED_STEPS = ("register", "promote", "report")


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
        """Digest of every output that holds no date."""
        return {name: step["digest"] for name, step in self.steps.items() if name not in DATED_STEPS}


PHENOSCALE = (sys.executable, "-c", "import sys; from phenoscale.cli.main import main; sys.exit(main())")


def command(workspace, *flags, pipeline="full", recipe="demo_tiny"):
    """The command line of a tiny run."""
    return [
        *(*PHENOSCALE, "run", pipeline, "--config", recipe),
        *("--workspace", str(workspace), "--json", *flags),
    ]


def environment():
    """One thread a process, so that results do not depend on the machine's load."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def run_tiny(workspace, *flags, cwd=None, env=None, **asked):
    """Run to the end."""
    done = subprocess.run(
        command(workspace, *flags, **asked),
        cwd=cwd,
        env=env or environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    return FinishedRun({step["step"]: step for step in summary["steps"]}, summary, done.stderr)


def start_tiny(workspace, *flags):
    """Start, in a process group of its own, so that the whole of it can be killed."""
    return subprocess.Popen(
        command(workspace, *flags),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill(process):
    """End a process as a power cut would."""
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
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
