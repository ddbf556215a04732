"""Run a stage once: key, reuse, lease, build, lineage, commit; the same call resumes it after any end."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from phenoscale.config import Config, Runtime, digest_json, fingerprint
from phenoscale.config.digests import plain
from phenoscale.errors import PhenoscaleError, RetryError, is_disk_full
from phenoscale.logs import get_logger, keep_last_lines, key_values
from phenoscale.stages.attempt import SHARE_SUFFIX, attempt_folder
from phenoscale.stages.commit import changed_file, commit, discard, lineage_of, read_success
from phenoscale.stages.failure import failure_of, write_failure
from phenoscale.stages.fetch import keep_built
from phenoscale.stages.inputs import Input, InputPaths, inputs_digest, resolve_inputs
from phenoscale.stages.lease import LEASE_SUFFIX, Lease, hold_lease
from phenoscale.stages.lineage import KEY_LENGTH, lineage_record
from phenoscale.stages.output import Output, OutputAddress, Place
from phenoscale.stages.plan import StagePlan, stop_if_planning
from phenoscale.stages.records import SUCCESS, Success
from phenoscale.stages.result import StageResult
from phenoscale.stages.sources import sources_digest
from phenoscale.stages.workspace import Workspace, open_workspace
from phenoscale.storage.mirror import storage_at

logger = get_logger(__name__)


@dataclasses.dataclass(frozen=True)
class _Stage:
    """One stage about to run: everything its key is made of."""

    name: str
    key: str
    workspace: Workspace
    config: Config
    inputs: tuple[Input, ...]
    sources_digest: str

    @property
    def place(self) -> str:
        """The output's name in the workspace."""
        return f"{self.name.replace(' ', '-')}/{self.key[:KEY_LENGTH]}"

    @property
    def failure_key(self) -> str:
        """Where the record of a failure lies, beside the output."""
        return f"{self.place}.failure.json"

    @property
    def folder(self) -> Path:
        """The output's folder, or that of its copy on this machine."""
        return self.workspace.root / self.place


def run_stage(
    stage: str,
    *,
    entry: str,
    config: Config,
    inputs: InputPaths,
    build: Callable[[Output], Mapping[str, Any]],
    modules: Sequence[str] = (),
    source_root: Path | None = None,
) -> StageResult:
    """Return the output of a stage: the one that is there and complete, or a newly built one.

    Args:
        stage: the stage's name; outputs lie in `<workspace>/<stage>/<first 20 digits of the key>`.
        entry: dotted name of the module that the stage's code starts in (pass `__name__`).
        config: the stage's config; settings enter the key, `config.runtime.workspace` says where to write.
        inputs: name to path, URI or sequence of paths; digests enter the key, places do not.
        build: writes the output into `Output.folder`, publishes parts of long work as it goes, finds again
            those of a runner that was killed, and returns a summary of plain JSON values.
        modules: dotted names of further modules that compute and that no import of `entry` names: the one
            that the config chooses, or that runs in processes of its own.
        source_root: folder that holds the package whose sources enter the key; the running one's by default.

    Raises:
        UserError: an input is missing or incomplete.
        RetryError: another live process runs this stage, the disk is full, or the store is away.
    """
    started = time.monotonic()
    found = _prepare(
        stage, config=config, inputs=inputs, sources=sources_digest(entry, modules=modules, root=source_root)
    )
    reused = _complete_unless_planning(found)
    if reused is not None:
        return _say_reused(reused)
    with hold_lease(found.workspace.storage, found.place, stage=stage) as lease:
        # another runner may have finished between the look and the lease
        reused = complete_output(stage, folder=found.folder, key=found.key)
        return _say_reused(reused) if reused else _build(found, build=build, lease=lease, started=started)


def run_share(
    stage: str,
    *,
    entry: str,
    config: Config,
    inputs: InputPaths,
    build: Callable[[Output], Mapping[str, Any]],
    modules: Sequence[str] = (),
) -> StageResult:
    """Build a share of a stage's parts, beside other runners that build theirs; nothing is committed.

    The lease is not taken: it belongs to whoever runs the stage itself, and finds all parts there. Takes what
    `run_stage` takes; only what `build` publishes stays.

    Returns:
        The complete output, where it is there already; else one with the digest "", of which parts exist.
    """
    started = time.monotonic()
    found = _prepare(stage, config=config, inputs=inputs, sources=sources_digest(entry, modules=modules))
    reused = _complete_unless_planning(found)
    if reused is not None:
        return _say_reused(reused)
    address = OutputAddress(found.workspace.uri, found.place, found.sources_digest)
    with _full_disk_means_retry(found.folder), open_output(address) as output:
        summary = plain(build(output))
    seconds = time.monotonic() - started
    return StageResult(stage, found.key, found.folder, "", reused=False, seconds=seconds, summary=summary)


@contextlib.contextmanager
def open_output(address: OutputAddress) -> Iterator[Output]:
    """Open an output to publish parts in it without its lease; what is not published is lost at the end.

    A lease of its own name says that this share is being built.
    """
    workspace = open_workspace(address.workspace)
    folder = workspace.root / address.name
    folder.parent.mkdir(parents=True, exist_ok=True)
    place = Place(workspace, name=address.name, check=lambda: None)
    # beside the output, where a hard link reaches it
    with tempfile.TemporaryDirectory(prefix=folder.name + SHARE_SUFFIX, dir=folder.parent) as own:
        share = str(PurePosixPath(address.name).with_name(Path(own).name))
        with hold_lease(workspace.storage, share, stage=share.partition("/")[0]):
            yield Output(Path(own), sources_digest=address.sources_digest, place=place)
        workspace.storage.delete_below(share + LEASE_SUFFIX)


def _complete_unless_planning(stage: _Stage) -> StageResult | None:
    """The complete output, if there is one; where only the plan is asked for, the stage ends here."""
    reused = complete_output(stage.name, folder=stage.folder, key=stage.key)
    plan = StagePlan(
        stage=stage.name,
        key=stage.key,
        path=stage.folder,
        is_cached=reused is not None,
        inputs=stage.inputs,
    )
    stop_if_planning(plan)
    return reused


def _prepare(stage: str, *, config: Config, inputs: InputPaths, sources: str) -> _Stage:
    runtime: Runtime = getattr(config, "runtime", None) or Runtime()
    workspace = open_workspace(runtime.workspace)
    resolved_inputs = tuple(resolve_inputs(inputs, workspace=workspace.root))
    key = digest_json(
        {
            "stage": stage,
            "sources": sources,
            "config": fingerprint(config),
            "inputs": inputs_digest(resolved_inputs),
        }
    )
    return _Stage(
        name=stage,
        key=key,
        workspace=workspace,
        config=config,
        inputs=resolved_inputs,
        sources_digest=sources,
    )


def complete_output(stage: str, *, folder: Path, key: str) -> StageResult | None:
    """Return the complete output of a stage in a folder, None unless it has this key."""
    started = time.monotonic()
    success = read_success(folder)
    if success is None or success.key != key or changed_file(folder, success) is not None:
        return None
    return StageResult(
        stage=stage,
        key=key,
        path=folder,
        digest=success.digest,
        reused=True,
        seconds=time.monotonic() - started,
        summary=lineage_of(folder).get("summary", {}),
    )


def _say_reused(result: StageResult) -> StageResult:
    logger.info("%s", key_values(stage=result.stage, key=result.path.name, status="reused"))
    return result


def _build(
    stage: _Stage, *, build: Callable[[Output], Mapping[str, Any]], lease: Lease, started: float
) -> StageResult:
    with keep_last_lines() as lines:
        try:
            with _full_disk_means_retry(stage.folder):
                result = _build_and_commit(stage, build=build, lease=lease, started=started)
        except BaseException as error:
            failure = failure_of(error, name=stage.name, lines=lines)
            write_failure(failure, storage=stage.workspace.storage, key=stage.failure_key)
            raise
    stage.workspace.storage.delete(stage.failure_key)
    return result


def _build_and_commit(
    stage: _Stage, *, build: Callable[[Output], Mapping[str, Any]], lease: Lease, started: float
) -> StageResult:
    _discard_if_changed(stage.folder)
    folder, has_folder = attempt_folder(stage.folder, lease=lease)
    place = Place(stage.workspace, name=stage.place, check=lease.check)
    output = Output(folder, sources_digest=stage.sources_digest, place=place)
    output.drop_changed_parts()
    is_resumed = has_folder or bool(output.parts())
    status = "resumed" if is_resumed else "started"
    logger.info("%s", key_values(stage=stage.name, key=stage.folder.name, status=status))
    began = datetime.datetime.now(datetime.UTC)
    summary = plain(build(output))
    said: dict[str, Any] = {"started": began.isoformat(), "is_resumed": is_resumed, "summary": summary}

    def lineage(success: Success) -> bytes:
        said["seconds"] = time.monotonic() - started
        record = lineage_record(
            stage.name,
            key=stage.key,
            config=stage.config,
            inputs=stage.inputs,
            sources_digest=stage.sources_digest,
            success=success,
        )
        return json.dumps({**record, **said}, indent=1).encode()

    success = commit(output, key=stage.key, lineage=lineage)
    keep_built(folder, output=stage.folder)
    seconds = time.monotonic() - started
    line = key_values(stage=stage.name, key=stage.folder.name, status="done", seconds=seconds)
    logger.info("%s", line)
    return StageResult(
        stage=stage.name,
        key=stage.key,
        path=stage.folder,
        digest=success.digest,
        reused=False,
        seconds=seconds,
        summary=summary,
    )


def _discard_if_changed(folder: Path) -> None:
    """Remove what was once complete: with a changed file in it nothing there can be trusted."""
    if not storage_at(folder).exists(SUCCESS):
        return
    success = read_success(folder)
    changed = SUCCESS if success is None else changed_file(folder, success) or SUCCESS
    logger.warning("%s was changed after its stage had finished; the stage is run again", folder / changed)
    discard(folder)


@contextlib.contextmanager
def _full_disk_means_retry(folder: Path) -> Iterator[None]:
    try:
        yield
    except PhenoscaleError:
        raise
    except Exception as error:
        if is_disk_full(error):
            raise RetryError(f"no room to write {folder} ({error}); free space, then repeat") from error
        raise
