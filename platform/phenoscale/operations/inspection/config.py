"""Configs of the verbs that inspect outputs and the machine."""

from __future__ import annotations

from typing import Literal

from phenoscale.config import Config, Runtime, location, runtime


class LineageConfig(Config):
    """Show where an output came from, or what was made from it.

    Every stage leaves a lineage.json in its output; from these alone the walk finds its way, also through
    outputs of other workspaces as long as they lie where they did.
    """

    target: str = location(
        help="output folder of a stage, a file in one, or a registered encoder (models:/NAME@ALIAS)"
    )
    direction: Literal["upstream", "downstream"] = runtime(
        "upstream", help="upstream: what it was made from; downstream: what was made from it"
    )
    runtime: Runtime = Runtime()


class GcConfig(Config):
    """Remove from a workspace what no run, report or registered model reaches.

    Kept is what the run records, the outputs of `report` and the registry's versions name, with everything
    that it was made from. An output of a verb that was run by hand goes, unless one of these reaches it.
    Without --delete nothing is removed: the list says what could be. Registered models are looked for at the
    tracking URI: give --tracking-uri where the registry is on a server.
    """

    delete: bool = runtime(False, help="remove what is listed")
    keep_runs: int = runtime(0, ge=0, help="newest runs whose outputs are kept; 0: those of all runs")
    runtime: Runtime = Runtime()


class DoctorConfig(Config):
    """Check whether this machine is ready, and say for each check what to do if it is not."""

    store: str = location(in_place=True, help="screen store, folder or s3:// address to try to read")
    min_free_gb: float = runtime(5.0, ge=0, help="free space that the workspace's disk should have, in GB")
    min_memory_gb: float = runtime(4.0, ge=0, help="memory that the machine should have, in GB")
    runtime: Runtime = Runtime()
