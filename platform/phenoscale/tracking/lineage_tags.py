"""A stage's lineage.json in MLflow's words: tags, data set inputs and the numbers of its summary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class DatasetInput:
    """One input of a stage, as MLflow records data sets."""

    name: str
    digest: str
    uri: str
    context: str


def lineage_tags(lineage: Mapping[str, Any]) -> dict[str, str]:
    """Stage, key, output digest and code version; what is not known is left out."""
    code = lineage.get("code", {})
    tags = {
        "stage": lineage.get("stage"),
        "key": lineage.get("key"),
        "digest": lineage.get("digest"),
        "config_fingerprint": lineage.get("config_fingerprint"),
        "git_commit": code.get("git_commit"),
        "mlflow.source.git.commit": code.get("git_commit"),
        "git_dirty": code.get("dirty"),
        "version": code.get("version"),
        "image_digest": code.get("image_digest"),
    }
    return {key: str(value) for key, value in tags.items() if value not in (None, "")}


def dataset_inputs(lineage: Mapping[str, Any]) -> list[DatasetInput]:
    """Every input with a digest; an input that holds several places gives one entry each."""
    entries = []
    for name, value in lineage.get("inputs", {}).items():
        several = value if isinstance(value, list) else [value]
        for index, one in enumerate(several):
            label = name if len(several) == 1 else f"{name}.{index}"
            entries.append(
                DatasetInput(
                    name=label,
                    digest=str(one["digest"]),
                    uri=str(one.get("uri", "")),
                    context=str(one.get("stage") or "input"),
                )
            )
    return entries


def lineage_metrics(lineage: Mapping[str, Any]) -> dict[str, float]:
    """The numeric leaves of the stage's summary, and how long it took."""
    metrics = _numbers(lineage.get("summary", {}))
    if isinstance(lineage.get("seconds"), int | float):
        metrics["stage_seconds"] = float(lineage["seconds"])
    return metrics


def _numbers(values: Mapping[str, Any], *, prefix: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found.update(_numbers(value, prefix=f"{prefix}{key}."))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[f"{prefix}{key}"] = float(value)
    return found
