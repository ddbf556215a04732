"""A lineage record in MLflow's words."""

from __future__ import annotations

from phenoscale.tracking.lineage_tags import lineage_metrics, lineage_tags

LINEAGE = {
    "stage": "embed",
    "key": "k" * 64,
    "digest": "d" * 64,
    "seconds": 2.5,
    "config_fingerprint": "f" * 64,
    "code": {"git_commit": "abc", "dirty": False, "version": "0.1.0", "image_digest": None},
    "inputs": {
        "encoder": {"uri": "ws/probe/1", "digest": "e" * 64, "stage": "probe"},
        "stores[0]": {"uri": "a", "digest": "1"},
    },
    "summary": {"num_wells": 12, "splits": {"train": 3}, "name": "x", "ok": True},
}


def test_tags_hold_what_is_known_and_leave_out_the_rest() -> None:
    tags = lineage_tags(LINEAGE)
    assert tags["stage"] == "embed"
    assert tags["digest"] == "d" * 64
    assert tags["git_commit"] == tags["mlflow.source.git.commit"] == "abc"
    assert tags["git_dirty"] == "False"
    assert "image_digest" not in tags


def test_metrics_are_the_numeric_leaves_of_the_summary() -> None:
    assert lineage_metrics(LINEAGE) == {"num_wells": 12.0, "splits.train": 3.0, "stage_seconds": 2.5}
