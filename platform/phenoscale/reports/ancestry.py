"""Which stages led to this report: their lineage records, found from the report's inputs upstream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from phenoscale.stages import lineage_of, output_folder
from phenoscale.stages.records import read_json
from phenoscale.storage import open_storage

if TYPE_CHECKING:
    from phenoscale.reports.config import ReportConfig


@dataclass(frozen=True)
class Ancestor:
    """One finished stage.

    Attributes:
        label: the stage, and which of several (`embed trained`).
        record: its lineage.json.
        parents: keys of the stages that it read, as far as they are known.
        reused: whether the pipeline run found it finished; None when that is not known.
    """

    label: str
    record: Mapping[str, Any]
    parents: tuple[str, ...]
    reused: bool | None = None

    @property
    def seconds(self) -> float:
        """How long the stage took when it was computed."""
        return float(self.record.get("seconds") or 0.0)


@dataclass(frozen=True)
class Ancestry:
    """The stages by key, the earliest first."""

    stages: Mapping[str, Ancestor] = field(default_factory=dict)

    def of_stage(self, stage: str) -> list[Ancestor]:
        """The stages of one name."""
        return [node for node in self.stages.values() if node.record.get("stage") == stage]

    def depths(self) -> dict[str, int]:
        """How many stages stand between each stage and the raw data, at most."""
        found: dict[str, int] = {}

        def depth(key: str) -> int:
            if key not in found:
                found[key] = 1 + max((depth(parent) for parent in self.stages[key].parents), default=-1)
            return found[key]

        for key in self.stages:
            depth(key)
        return found

    def direct_edges(self) -> list[tuple[str, str]]:
        """(parent, child) pairs, without those that a longer way already implies."""
        edges = [(parent, key) for key, node in self.stages.items() for parent in node.parents]
        return [
            (parent, key)
            for parent, key in edges
            if not any(other != parent and self._reaches(parent, other) for other in self.stages[key].parents)
        ]

    def _reaches(self, start: str, end: str) -> bool:
        waiting = [end]
        while waiting:
            key = waiting.pop()
            if key == start:
                return True
            waiting.extend(self.stages[key].parents)
        return False


def read_ancestry(config: ReportConfig) -> Ancestry:
    """Follow the lineage records of all inputs upstream, as far as their folders are still there."""
    records: dict[str, dict[str, Any]] = {}
    names: dict[str, str] = {}
    waiting = []
    for name, place in _places(config):
        folder = output_folder(place)
        if folder is not None:
            waiting.append(folder)
            names[str(folder)] = name
    labels: dict[str, str] = {}
    while waiting:
        folder = waiting.pop()
        record = lineage_of(folder)
        key = record.get("key")
        if not key:
            continue
        labels[key] = labels.get(key) or names.get(str(folder), "")
        if key in records:
            continue
        records[key] = record
        for entry in record.get("inputs", {}).values():
            parent = output_folder(entry["uri"]) if entry.get("key") else None
            if parent is not None:
                waiting.append(parent)
                if (record["stage"], entry.get("stage")) == ("map", "embed"):
                    # embeddings are called as their map is, also where only the map was given
                    names.setdefault(str(parent), names.get(str(folder), ""))
    return _ordered(records, labels=labels, reused=_read_run(config.run))


def _ordered(
    records: Mapping[str, dict[str, Any]], *, labels: Mapping[str, str], reused: Mapping[str, bool]
) -> Ancestry:
    order = sorted(records, key=lambda key: str(records[key].get("started", "")))
    return Ancestry(
        {
            key: Ancestor(
                label=" ".join(filter(None, (records[key]["stage"], labels[key] or _variant(records[key])))),
                record=records[key],
                parents=tuple(
                    dict.fromkeys(
                        entry["key"]
                        for entry in records[key].get("inputs", {}).values()
                        if entry.get("key") in records
                    )
                ),
                reused=reused.get(key),
            )
            for key in order
        }
    )


def _variant(record: Mapping[str, Any]) -> str:
    """What tells two imports apart."""
    return str(record.get("config", {}).get("source", "")) if record.get("stage") == "import" else ""


def _places(config: ReportConfig) -> Iterator[tuple[str, str]]:
    for places in (config.pretrains, config.embeddings, config.maps):
        yield from places.items()
    for place in (
        config.screen,
        config.manifest,
        config.pretrain,
        config.probe,
        config.benchmark,
        config.registered,
        config.promoted,
        config.oracle,
    ):
        if place:
            yield "", place


def _read_run(place: str) -> dict[str, bool]:
    """Which keys a pipeline run found finished: `<run>/<step>/result.json`."""
    storage = open_storage(place) if place else None
    results = [read_json(storage, f"{step}/result.json") for step in storage.folders()] if storage else []
    return {str(result["key"]): bool(result.get("reused")) for result in results if "key" in result}
