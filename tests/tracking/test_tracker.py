"""A stage's run on a real MLflow store."""

from __future__ import annotations

import json
import logging
import socket
from pathlib import Path
from typing import Any

import pytest

from phenoscale.config import Runtime
from phenoscale.errors import RetryError, UserError
from phenoscale.tracking.outbox import OutboxTimes
from phenoscale.tracking.server import connect
from phenoscale.tracking.tracker import (
    PARENT_TAG,
    create_parent_run,
    finish_parent_run,
    flatten,
    open_tracker,
)

IMPATIENT = OutboxTimes(first_retry_seconds=0.05, longest_retry_seconds=0.1, patience_at_end_seconds=0.2)


def run_of(runtime: Runtime, run_id: str) -> Any:
    return connect(runtime).get_run(run_id)


def test_a_run_holds_parameters_curves_tags_data_sets_and_files(tracked: Runtime, tmp_path: Path) -> None:
    figure = tmp_path / "curve.png"
    figure.write_bytes(b"png")
    with open_tracker(tracked, stage="pretrain", tags={"pipeline": "full"}) as tracker:
        tracker.log_params({"model": {"embedding_dim": 192}, "stores": ["a", "b"], "long": "x" * 900})
        for step in range(50):
            tracker.log_metrics(step, {"loss": 1.0 / (step + 1), "lr": 0.1})
        tracker.log_figure(figure)
        tracker.log_dataset("manifest", digest="d" * 64, uri="ws/curate/1", context="curate")
        tracker.set_tags({"digest": "e" * 64})
    run = run_of(tracked, tracker.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["model.embedding_dim"] == "192"
    assert run.data.params["stores"] == '["a", "b"]'
    assert run.data.params["long"].endswith("(900 characters)")
    assert run.data.tags["stage"] == "pretrain"
    assert (run.data.tags["pipeline"], run.data.tags["digest"]) == ("full", "e" * 64)
    history = connect(tracked).get_metric_history(tracker.run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(i, 1.0 / (i + 1)) for i in range(50)]
    [dataset] = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("manifest", "d" * 36)
    assert json.loads(dataset.dataset.source) == {"uri": "ws/curate/1", "digest": "d" * 64}
    assert [file.path for file in connect(tracked).list_artifacts(tracker.run_id, "figures")] == [
        "figures/curve.png"
    ]


def test_lineage_becomes_tags_data_sets_metrics_and_an_artifact(tracked: Runtime, tmp_path: Path) -> None:
    file = tmp_path / "lineage.json"
    file.write_text(
        json.dumps(
            {
                "stage": "map",
                "digest": "d" * 64,
                "seconds": 3.0,
                "code": {"git_commit": "abc"},
                "inputs": {"embeddings": {"uri": "x", "digest": "1", "stage": "embed"}},
                "summary": {"num_perturbations": 120},
            }
        )
    )
    with open_tracker(tracked, stage="map") as tracker:
        tracker.log_lineage(file)
    run = run_of(tracked, tracker.run_id)
    assert run.data.metrics == {"num_perturbations": 120.0, "stage_seconds": 3.0}
    assert run.data.tags["git_commit"] == "abc"
    assert run.inputs.dataset_inputs[0].dataset.name == "embeddings"
    assert [entry.path for entry in connect(tracked).list_artifacts(tracker.run_id)] == ["lineage.json"]


@pytest.mark.parametrize(
    ("error", "status"), [(UserError("bad plate"), "FAILED"), (RetryError("preempted"), "KILLED")]
)
def test_a_failed_stage_leaves_a_failed_run_and_its_error(
    tracked: Runtime, error: Exception, status: str
) -> None:
    with pytest.raises(type(error)), open_tracker(tracked, stage="ingest") as tracker:
        raise error
    run = run_of(tracked, tracker.run_id)
    assert run.info.status == status
    assert run.data.tags["failure"] == f"{type(error).__name__}: {error}"


def test_stages_nest_under_the_run_of_their_pipeline(tracked: Runtime) -> None:
    parent = create_parent_run(tracked, name="full", tags={"kfp_run_id": "r1"})
    with open_tracker(tracked.model_copy(update={"parent_run_id": parent}), stage="embed") as tracker:
        pass
    assert run_of(tracked, tracker.run_id).data.tags[PARENT_TAG] == parent
    assert run_of(tracked, parent).info.status == "RUNNING"
    finish_parent_run(tracked, run_id=parent)
    assert run_of(tracked, parent).info.status == "FINISHED"
    assert run_of(tracked, parent).data.tags["kfp_run_id"] == "r1"


def test_a_run_that_kubeflow_injects_is_resumed(tracked: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_tracker(tracked, stage="probe") as first:
        first.log_params({"seed": 1})
    monkeypatch.setenv("MLFLOW_RUN_ID", first.run_id)
    with open_tracker(tracked, stage="probe") as second:
        second.log_params({"seed": 2, "folds": 5})
    assert second.run_id == first.run_id
    run = run_of(tracked, first.run_id)
    assert run.data.params == {"seed": "1", "folds": "5"}
    assert run.data.tags["changed.seed"] == "2"
    assert run.info.status == "FINISHED"


def test_an_injected_run_that_is_the_parent_gets_nested_runs(
    tracked: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = create_parent_run(tracked, name="full")
    monkeypatch.setenv("MLFLOW_RUN_ID", parent)
    assert create_parent_run(tracked, name="full") == parent
    with open_tracker(tracked.model_copy(update={"parent_run_id": parent}), stage="embed") as tracker:
        pass
    assert tracker.run_id != parent


def test_a_stage_runs_to_its_end_while_the_server_is_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        runtime = Runtime(workspace=str(tmp_path), tracking_uri=address)
        with (
            caplog.at_level(logging.WARNING, logger="phenoscale"),
            open_tracker(runtime, stage="pretrain", times=IMPATIENT) as tracker,
        ):
            for step in range(100):
                tracker.log_metrics(step, {"loss": 1.0})
    assert len(caplog.records) <= 2
    assert "were not delivered" in caplog.records[-1].message


def test_flattening_dots_the_keys_and_keeps_lists_whole() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": None}}, "e": [1, {"f": 2}], "g": {}}) == {
        "a.b": "1",
        "a.c.d": "None",
        "e": '[1, {"f": 2}]',
        "g": "{}",
    }
