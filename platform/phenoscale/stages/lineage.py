"""Where an output came from and what came of it, read from the lineage.json in every output."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal

from phenoscale.config import Config, fingerprint, resolved
from phenoscale.errors import UserError
from phenoscale.stages.commit import lineage_of
from phenoscale.stages.fetch import output_above
from phenoscale.stages.host import code_facts, host_facts
from phenoscale.stages.inputs import Input, stage_folder
from phenoscale.stages.records import LINEAGE, Success, read_json
from phenoscale.stages.workspace import Workspace, open_workspace
from phenoscale.storage.mirror import address_of, local_path

Direction = Literal["upstream", "downstream"]
KEY_LENGTH: Final = 20
_NUM_READERS: Final = 8


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
        "config": _with_addresses(resolved(config, kinds=("setting", "location"))),
        "code": code_facts(),
        "sources_digest": sources_digest,
        "outputs": {name: record.sha256 for name, record in success.files.items()},
        "digest": success.digest,
        "host": host_facts(),
    }


def _with_addresses(value: Any) -> Any:
    """A config's values with addresses in place of paths in this machine's cache."""
    if isinstance(value, Mapping):
        return {name: _with_addresses(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_with_addresses(entry) for entry in value]
    return address_of(value) or value if isinstance(value, str) and value.startswith("/") else value


def read_lineage(place: Path | str) -> dict[str, Any]:
    """Return the lineage record of the stage output that a path or address is or lies in.

    Raises:
        UserError: when the place belongs to no finished stage.
    """
    folder = output_folder(place)
    record = lineage_of(folder) if folder is not None else {}
    if not record:
        raise UserError(
            f"{place} has no lineage: it is not in the output of a finished stage; "
            f"give an output folder or a file in one"
        )
    return record


def output_folder(place: Path | str) -> Path | None:
    """Return the folder of the output that a path or address is or lies in, None when it is in none.

    Of an output in a bucket it is where its copy lies on this machine, or would.
    """
    address = address_of(place)
    if address is None:
        return stage_folder(Path(place).resolve())
    found = output_above(address)
    return None if found is None else local_path(found[0])


def find_output(key: str, *, workspace: Path | str) -> Path:
    """Return the folder of the output with a key.

    Raises:
        UserError: when the workspace does not hold it.
    """
    opened = open_workspace(workspace)
    for stage in opened.storage.folders():
        name = f"{stage}/{key[:KEY_LENGTH]}"
        if read_json(opened.storage, f"{name}/{LINEAGE}").get("key") == key:
            return opened.root / name
    raise UserError(
        f"workspace {workspace} holds no output with key {key[:KEY_LENGTH]}...; "
        f"name the workspace that it was made in: --runtime.workspace PATH"
    )


def output_names(workspace: Workspace) -> list[str]:
    """Return the names `<stage>/<key>` of all outputs of a workspace, finished or not."""
    return [
        f"{stage}/{key}"
        for stage in workspace.storage.folders()
        for key in workspace.storage.folders(stage)
        if len(key) == KEY_LENGTH and key.isalnum()
    ]


def outputs_of(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """Return the lineage record of every output of a workspace, by its name."""
    storage, names = workspace.storage, output_names(workspace)
    with ThreadPoolExecutor(_NUM_READERS) as executor:
        records = executor.map(lambda name: read_json(storage, f"{name}/{LINEAGE}"), names)
        return {name: record for name, record in zip(names, records, strict=True) if "key" in record}


def walk_lineage(path: Path | str, workspace: Path | str, *, direction: Direction) -> list[LineageNode]:
    """Return what an output was made from, or what was made from it, as a tree in the order of printing.

    Args:
        path: a stage output, or a file in one; a path or an address.
        workspace: folder or address with the outputs of all stages.
        direction: "upstream" or "downstream".
    """
    record = read_lineage(path)
    records = _Records(open_workspace(workspace))
    records.add(str(output_folder(path)), record)
    start = records.node(record["key"], name="", depth=0)
    follow = records.upstream if direction == "upstream" else records.downstream
    nodes: list[LineageNode] = []
    waiting, seen = [start], set()
    while waiting:
        node = waiting.pop()
        if node.key and node.key in seen:
            nodes.append(dataclasses.replace(node, is_repeated=True))
            continue
        nodes.append(node)
        seen.add(node.key)
        waiting.extend(reversed(list(follow(node))))
    return nodes


class _Records:
    """The lineage records of a workspace by key, and who used whose output."""

    def __init__(self, workspace: Workspace) -> None:
        self._places: dict[str, tuple[str, dict[str, Any]]] = {}
        self._users: dict[str, dict[str, str]] = {}
        outputs = outputs_of(workspace)
        for name, record in sorted(outputs.items(), key=lambda entry: str(entry[1].get("started"))):
            self.add(f"{workspace.uri}/{name}", record)
            for given, entry in record["inputs"].items():
                # by user, because one may take several files of an output
                self._users.setdefault(entry.get("key", ""), {}).setdefault(record["key"], given)

    def add(self, place: str, record: dict[str, Any]) -> None:
        self._places[record["key"]] = (address_of(place) or place, record)

    def node(self, key: str, *, name: str, depth: int) -> LineageNode:
        place, record = self._places[key]
        return LineageNode(
            name=name, stage=record["stage"], key=key, uri=place, digest=record["digest"], depth=depth
        )

    def upstream(self, node: LineageNode) -> Iterator[LineageNode]:
        record = self._places[node.key][1] if node.key in self._places else {}
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
            if key and key not in self._places:
                self._add_from_elsewhere(key, place=entry["uri"])

    def downstream(self, node: LineageNode) -> Iterator[LineageNode]:
        for key, name in self._users.get(node.key, {}).items() if node.key else ():
            yield self.node(key, name=name, depth=node.depth + 1)

    def _add_from_elsewhere(self, key: str, *, place: str) -> None:
        """An input outside this workspace is followed where it lies."""
        folder = output_folder(place)
        record = lineage_of(folder) if folder is not None else {}
        if record.get("key") == key:
            self.add(str(folder), record)
