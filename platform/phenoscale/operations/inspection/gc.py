"""Remove from a workspace what no run, report or registered model reaches; without `--delete`, say it."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from phenoscale.config import Runtime
from phenoscale.errors import RetryError, UserError
from phenoscale.files import TEMPORARY_PREFIX
from phenoscale.logs import get_logger
from phenoscale.operations.inspection.config import GcConfig
from phenoscale.operations.running.records import RUNS
from phenoscale.stages import Workspace, discard, open_workspace
from phenoscale.stages.attempt import ATTEMPT_SUFFIX, SHARE_SUFFIX
from phenoscale.stages.commit import read_success
from phenoscale.stages.lease import LEASE_SUFFIX, hold_lease, is_live
from phenoscale.stages.lineage import output_names, outputs_of
from phenoscale.stages.output import REQUESTS_FOLDER
from phenoscale.stages.records import PARTS_FOLDER, PartRecord, read_json

_REPORT: Final = "report"
_STEP_RECORDS: Final = ("result.json", "known.json")
_BYTES_PER_GB: Final = 1e9
_SECONDS_TO_FINISH: Final = 86_400

logger = get_logger(__name__)


@dataclasses.dataclass(frozen=True)
class Garbage:
    """One thing that can be removed.

    Attributes:
        name: in the workspace: `<stage>/<key>`, or the folder of an attempt.
        kind: "output", "unfinished" (parts of an output that was never completed), "attempt" or "temporary"
            (what a writer was writing when it was killed).
        num_bytes: what it takes and nothing else shares.
    """

    name: str
    kind: str
    num_bytes: int


@dataclasses.dataclass(frozen=True)
class GcReport:
    """What can be removed, or was."""

    workspace: str
    is_deleted: bool
    num_kept: int
    garbage: tuple[Garbage, ...]

    def text(self) -> str:
        """Return one line a thing, largest first, and the sum."""
        ordered = sorted(self.garbage, key=lambda found: (-found.num_bytes, found.name))
        lines = [
            f"{found.num_bytes / _BYTES_PER_GB:9.3f} GB  {found.kind:10}  {found.name}" for found in ordered
        ]
        total = sum(found.num_bytes for found in ordered) / _BYTES_PER_GB
        did = "removed" if self.is_deleted else "can be removed with --delete"
        return "\n".join(
            [
                *lines,
                f"{len(ordered)} of {len(ordered) + self.num_kept} {did}: {total:.3f} GB in {self.workspace}",
            ]
        )


def run_gc(config: GcConfig) -> GcReport:
    """Find what nothing reaches, and with `delete` remove it.

    Raises:
        RetryError: a stage is running, of which nobody can say yet what it reads; or the registry is away.
    """
    workspace = open_workspace(config.runtime.workspace)
    outputs = outputs_of(workspace)
    everything = output_names(workspace)
    running = [name for name in _leased(workspace) if is_live(workspace.storage, name)]
    if running and config.delete:
        raise RetryError(
            f"{', '.join(running)} in {workspace.uri} is being built, and what it reads must stay; "
            "repeat when it has ended"
        )
    roots = {record["key"] for record in outputs.values() if record["stage"] == _REPORT}
    roots |= _keys_of_runs(workspace, num_runs=config.keep_runs) | _registered_keys(config.runtime)
    kept = _reached(workspace, outputs=outputs, roots=roots)
    kept |= {name.partition(SHARE_SUFFIX)[0] for name in running}
    garbage = [
        Garbage(name, "output" if name in outputs else "unfinished", _num_bytes(workspace, name))
        for name in everything
        if name not in kept
    ]
    garbage += [
        Garbage(str(path.relative_to(workspace.root)), "attempt", _folder_bytes(path))
        for suffix in (ATTEMPT_SUFFIX, SHARE_SUFFIX)
        for path in sorted(workspace.root.glob(f"*/*{suffix}*"))
        if path.is_dir() and not path.name.endswith(LEASE_SUFFIX)
        if path.relative_to(workspace.root).as_posix().partition(ATTEMPT_SUFFIX)[0] not in running
    ]
    garbage += [
        Garbage(str(path.relative_to(workspace.root)), "temporary", path.stat().st_size)
        for path in _left_by_killed_writers(workspace.root)
    ]
    if config.delete:
        _delete(workspace, garbage)
    return GcReport(workspace.uri, config.delete, len(set(everything) & kept), tuple(garbage))


def _left_by_killed_writers(root: Path) -> list[Path]:
    """Files that nobody has finished for so long that nobody will."""
    before = time.time() - _SECONDS_TO_FINISH
    found = [path for path in root.rglob(f"{TEMPORARY_PREFIX}*") if path.is_file()]
    return sorted(path for path in found if path.stat().st_mtime < before)


def _leased(workspace: Workspace) -> Iterator[str]:
    """Every output that is, or was, leased."""
    for stage in workspace.storage.folders():
        for folder in workspace.storage.folders(stage):
            if folder.endswith(LEASE_SUFFIX):
                yield f"{stage}/{folder.removesuffix(LEASE_SUFFIX)}"


def _keys_of_runs(workspace: Workspace, *, num_runs: int) -> set[str]:
    """Keys of all outputs that the newest runs made or reused; of all runs for 0."""
    storage = workspace.storage
    runs = sorted(storage.folders(RUNS))[-num_runs:]
    steps = [f"{RUNS}/{run}/{step}" for run in runs for step in storage.folders(f"{RUNS}/{run}")]
    records = [read_json(storage, f"{step}/{name}") for step in steps for name in _STEP_RECORDS]
    return {str(record["key"]) for record in records if record.get("key")}


def _registered_keys(runtime: Runtime) -> set[str]:
    """Keys of the outputs that registered encoders were taken from, every version and alias of them."""
    from phenoscale.registry.store import Registry
    from phenoscale.tracking.server import has_store

    if not has_store(runtime):
        return set()
    return {version.tags.get("stage_key", "") for version in Registry(runtime).every_version()} - {""}


def _reached(
    workspace: Workspace, *, outputs: Mapping[str, dict[str, Any]], roots: Iterable[str]
) -> set[str]:
    """Names of the outputs behind some keys: their inputs, and what their parts lie in, all the way up."""
    names = {record["key"]: name for name, record in outputs.items()}
    waiting, reached = [names[key] for key in roots if key in names], set[str]()
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        reached.add(name)
        inputs = outputs[name]["inputs"].values() if name in outputs else ()
        waiting += [names[entry["key"]] for entry in inputs if entry.get("key") in names]
        success = read_success(workspace.root / name)
        waiting += success.elsewhere.values() if success else ()
    return reached


def _num_bytes(workspace: Workspace, name: str) -> int:
    if workspace.is_remote:
        return sum(info.size for info in workspace.storage.list(f"{name}/"))
    return _folder_bytes(workspace.root / name)


def _folder_bytes(folder: Path) -> int:
    """What goes with a folder: a file that has a second name elsewhere stays."""
    found = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return sum(status.st_size for status in found if status.st_nlink == 1)


def _delete(workspace: Workspace, garbage: Iterable[Garbage]) -> None:
    storage = workspace.storage
    for found in garbage:
        if found.kind == "attempt":
            shutil.rmtree(workspace.root / found.name, ignore_errors=True)
            continue
        if found.kind == "temporary":
            (workspace.root / found.name).unlink(missing_ok=True)
            continue
        # nobody begins to build it while it goes
        with hold_lease(storage, found.name, stage=found.name.partition("/")[0]):
            _forget_requests(workspace, found.name)
            discard(workspace.root / found.name)
            storage.delete(f"{found.name}.failure.json")
        if workspace.is_remote:
            shutil.rmtree(workspace.root / found.name, ignore_errors=True)
        logger.info("removed %s", found.name)
    for name in list(_leased(workspace)):
        if not is_live(storage, name) and not any(True for _ in storage.list(f"{name}/")):
            storage.delete_below(name + LEASE_SUFFIX)


def _forget_requests(workspace: Workspace, name: str) -> None:
    """No later stage is to look for parts in an output that goes."""
    storage = workspace.storage
    for info in list(storage.list(f"{name}/{PARTS_FOLDER}/")):
        with contextlib.suppress(UserError, ValueError, TypeError, KeyError):
            request = PartRecord.parse(storage.read_bytes(info.key)).request
            key = f"{REQUESTS_FOLDER}/{request}.json"
            if request and read_json(storage, key).get("output") == name:
                storage.delete(key)
