"""A stage's lineage.json in MLflow's words: tags and the numbers of its summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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


def lineage_metrics(lineage: Mapping[str, Any]) -> dict[str, float]:
    """The numeric leaves of the stage's summary, and how long it took."""
    metrics = numeric_leaves(lineage.get("summary", {}))
    if isinstance(lineage.get("seconds"), int | float):
        metrics["stage_seconds"] = float(lineage["seconds"])
    return metrics


def numeric_leaves(values: Mapping[str, Any], *, prefix: str = "") -> dict[str, float]:
    """The numbers of a nested mapping, by dotted name."""
    found: dict[str, float] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= numeric_leaves(value, prefix=f"{prefix}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[f"{prefix}{key}"] = float(value)
    return found
