"""Where an output came from and what came of it, read from the lineage.json in every output."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from phenoscale.config import Config, fingerprint, resolved
from phenoscale.errors import UserError
from phenoscale.stages.commit import LINEAGE, Success, read_record
from phenoscale.stages.host import code_facts, host_facts
from phenoscale.stages.inputs import Input, stage_folder

Direction = Literal["upstream", "downstream"]


@dataclasses.dataclass(frozen=True)
class LineageNode:
    """One step of a walk: an output of a stage, or raw data (then stage and key are empty).

    Attributes:
        name: the input's name in the stage that used it; empty for the first node.
        depth: how many steps from the start.
        is_repeated: whether the walk has been here before; what is behind is not listed again.
    """

    name: str
    stage: str
    key: str
    uri: str
    digest: str
    depth: int
    is_repeated: bool = False


def lineage_record(
    stage: str,
    *,
    key: str,
    config: Config,
    inputs: Sequence[Input],
    sources_digest: str,
    success: Success,
) -> dict[str, Any]:
    """Return the content of lineage.json, without the times and the summary."""
    return {
        "stage": stage,
        "key": key,
        "inputs": {entry.name: entry.record() for entry in inputs},
        "config_fingerprint": fingerprint(config),
        "config": resolved(config, kinds=("setting", "location")),
        "code": code_facts(),
        "sources_digest": sources_digest,
        "outputs": {name: record.sha256 for name, record in success.files.items()},
        "digest": success.digest,
        "host": host_facts(),
    }


def read_lineage(path: Path | str) -> dict[str, Any]:
    """Return the lineage record of the stage output that a path is or lies in.

    Raises:
        UserError: when the path belongs to no finished stage.
    """
    folder = stage_folder(Path(path).resolve())
    record = read_record(folder / LINEAGE) if folder is not None else {}
    if not record:
        raise UserError(
            f"{path} has no lineage: it is not in the output of a finished stage; "
            f"give an output folder or a file in one"
        )
    return record


def find_output(key: str, *, workspace: Path | str) -> Path:
    """Return the folder of the output with a key.

    Raises:
        UserError: when the workspace does not hold it.
    """
    found = _workspace_records(Path(workspace)).get(key)
    if found is None:
        raise UserError(
            f"workspace {workspace} holds no output with key {key[:20]}...; "
            f"name the workspace that it was made in: --runtime.workspace PATH"
        )
    return found[0]


def walk_lineage(path: Path | str, workspace: Path | str, *, direction: Direction) -> list[LineageNode]:
    """Return what an output was made from, or what was made from it, as a tree in the order of printing.

    Args:
        path: a stage output, or a file in one.
        workspace: folder with the outputs of all stages.
        direction: "upstream" or "downstream".
    """
    record = read_lineage(path)
    records = _workspace_records(Path(workspace))
    records[record["key"]] = (stage_folder(Path(path).resolve()) or Path(path), record)
    start = _node(record["key"], name="", depth=0, records=records)
    follow = _upstream if direction == "upstream" else _downstream
    nodes: list[LineageNode] = []
    waiting, seen = [start], set()
    while waiting:
        node = waiting.pop()
        if node.key and node.key in seen:
            nodes.append(dataclasses.replace(node, is_repeated=True))
            continue
        nodes.append(node)
        seen.add(node.key)
        waiting.extend(reversed(list(follow(node, records))))
    return nodes


_Records = dict[str, tuple[Path, dict[str, Any]]]


def _workspace_records(workspace: Path) -> _Records:
    found: _Records = {}
    for file in sorted(workspace.resolve().glob(f"*/*/{LINEAGE}")):
        record = read_record(file)
        if "key" in record and "stage" in record:
            found[record["key"]] = (file.parent, record)
    return found


def _node(key: str, *, name: str, depth: int, records: _Records) -> LineageNode:
    folder, record = records[key]
    return LineageNode(
        name=name, stage=record["stage"], key=key, uri=str(folder), digest=record["digest"], depth=depth
    )


def _upstream(node: LineageNode, records: _Records) -> Iterator[LineageNode]:
    record = records[node.key][1] if node.key in records else {}
    for name, entry in record.get("inputs", {}).items():
        key, depth = entry.get("key", ""), node.depth + 1
        yield LineageNode(
            name=name,
            stage=entry.get("stage", ""),
            key=key,
            uri=entry["uri"],
            digest=entry["digest"],
            depth=depth,
        )
        # an input outside this workspace is followed where it lies
        folder = stage_folder(Path(entry["uri"])) if key and key not in records else None
        if folder is not None and (found := read_record(folder / LINEAGE)).get("key") == key:
            records[key] = (folder, found)


def _downstream(node: LineageNode, records: _Records) -> Iterator[LineageNode]:
    for key, (_, record) in sorted(records.items(), key=lambda entry: str(entry[1][1].get("started"))):
        for name, entry in record["inputs"].items():
            if node.key and entry.get("key") == node.key:
                yield _node(key, name=name, depth=node.depth + 1, records=records)
                break
