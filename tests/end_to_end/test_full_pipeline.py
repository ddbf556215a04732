"""The whole chain as a local Kubeflow pipeline, run by the command that README names, on the tiny demo."""

import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import phenoscale
from phenoscale.operations.pipelines.full import FULL
from tests.support.pipeline_runs import cached_steps, kill, run_tiny, start_tiny

pytestmark = [pytest.mark.ranks, pytest.mark.timeout(1800)]

STEPS = {step.name for step in FULL.steps}
AFTER_MAPS = {"benchmark", "register", "promote", "report"}
MAPS = {"map_trained", "map_untrained", "map_pixel_statistics"}


def test_one_command_goes_from_plates_to_a_report(first, workspace):
    assert set(first.steps) == STEPS
    assert first.reused == set()
    report = Path(first.summary["report"])
    text = report.read_text()
    assert "Tiny demo" in text
    loaded = re.findall(r"""<link rel="stylesheet"|(?:src=|url\()["']?(?:https?:)?//""", text)
    assert loaded == [], "a page in one file loads nothing from elsewhere"
    assert (workspace / "mlflow.db").is_file()


def test_the_run_ends_with_recall_of_every_encoder_and_of_the_oracle(first):
    tables = {table["title"].partition(" (")[0]: table for table in first.summary["tables"]}
    recall = tables["recall of known relationships"]
    assert list(recall["cells"]) == ["pixel_statistics", "untrained", "trained", "oracle"]
    assert recall["columns"] == ["before correction", "after correction"]
    assert "probe of perturbation" in {title.partition(" at ")[0] for title in tables}


def test_the_story_tells_each_step_once_with_its_seconds(first):
    for step in STEPS:
        assert len(re.findall(rf"\] {step} +done +[\d.]+ s", first.story)) == 1, step


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow's own use of SQLAlchemy
def test_every_step_that_ran_has_its_own_tracked_run_under_that_of_the_pipeline(first, workspace):
    from mlflow import MlflowClient

    client = MlflowClient(first.summary["tracking_uri"])
    (experiment,) = [found for found in client.search_experiments() if found.name == "phenoscale"]
    runs = client.search_runs([experiment.experiment_id], max_results=100)
    (parent,) = [run for run in runs if run.info.run_name == "demo_tiny"]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert {run.info.run_name for run in children} == STEPS
    assert {run.info.status for run in runs} == {"FINISHED"}
    trained = next(run for run in children if run.info.run_name == "pretrain")
    assert trained.data.tags["digest"] == first.steps["pretrain"]["digest"]
    assert len(client.get_metric_history(trained.info.run_id, "loss")) >= 3


def test_the_same_command_again_reuses_every_step(first, workspace):
    again = run_tiny(workspace)
    assert again.reused == STEPS
    assert again.digests == first.digests
    assert "reused" in again.story


def test_without_kubeflow_the_same_steps_are_found_done(first, workspace):
    again = run_tiny(workspace, "--in-process")
    assert again.reused == STEPS
    assert again.digests == first.digests


def test_the_report_alone_is_made_again_for_another_title(first, workspace):
    again = run_tiny(workspace, "--in-process", "--report.title", "Another title")
    assert again.reused == STEPS - {"report"}
    assert "Another title" in Path(again.summary["report"]).read_text()


BEFORE_EMBEDDING = {"simulate", "ingest", "curate", "pretrain", "probe"} | {
    "import_untrained",
    "import_pixel_statistics",
}
CHANGED_SETTINGS = {
    "report__title": ("x", {"report"}),
    "benchmark__recall__num_resamples": ("101", AFTER_MAPS),
    "map__strata": ("cell_type", MAPS | AFTER_MAPS),
    "embed__outputs": ("well", STEPS - BEFORE_EMBEDDING),
    "pretrain__num_steps": ("13", STEPS - {"simulate", "ingest", "curate"}),
    "curate__min_wells": ("2", STEPS - {"simulate", "ingest"}),
    "simulate__seed": ("1", STEPS),
}


@pytest.mark.parametrize("field", CHANGED_SETTINGS)
def test_a_changed_setting_affects_its_stage_and_what_comes_after(first, workspace, field):
    value, affected = CHANGED_SETTINGS[field]
    assert STEPS - cached_steps(workspace, **{field: value}) == affected


@pytest.mark.parametrize(
    ("field", "value"), [("runtime__num_workers", "3"), ("name", "other"), ("embed__minibatch_size", "7")]
)
def test_how_and_where_to_run_affects_no_step(first, workspace, field, value):
    assert cached_steps(workspace, **{field: value}) == STEPS


def test_a_changed_source_line_affects_its_stage_and_what_comes_after(first, workspace, tmp_path):
    """One line, through the whole plan; which lines change which keys is the table of tests/stages."""
    package = Path(phenoscale.__file__).parent
    copied = tmp_path / "phenoscale"
    shutil.copytree(package, copied, ignore=shutil.ignore_patterns("__pycache__"))
    with (copied / "mapping" / "steps" / "aggregate.py").open("a") as file:
        file.write("\n_ANOTHER_LINE = 1\n")
    code = (
        "import sys\n"
        "from tests.support.pipeline_runs import cached_steps\n"
        "print(*sorted(cached_steps(sys.argv[1])))\n"
    )
    paths = f"{tmp_path}:{Path(__file__).resolve().parents[2]}"
    done = subprocess.run(
        [sys.executable, "-c", code, str(workspace)],
        env={"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert STEPS - set(done.stdout.split()) == MAPS | AFTER_MAPS


def test_killed_at_random_times_the_same_command_gives_the_same_outputs(first, tmp_path):
    """Two kills of the whole run in another workspace; the finished stages are reused by the next attempt."""
    workspace = tmp_path / "workspace"
    times = random.Random(0)
    finished: set[str] = set()
    for _ in range(2):
        process = start_tiny(workspace, "--in-process")
        _wait_for_more(workspace, than=len(finished), process=process)
        time.sleep(times.uniform(0.0, 1.5))
        kill(process)
        finished = _finished(workspace)
    last = run_tiny(workspace, "--in-process")
    assert last.digests == first.digests
    assert {Path(step["output"]).name for name, step in last.steps.items() if step["reused"]} >= {
        Path(output).name for output in finished
    }


def _finished(workspace):
    return {str(path.parent) for path in workspace.glob("*/*/_SUCCESS.json")}


def _wait_for_more(workspace, *, than, process):
    deadline = time.monotonic() + 300
    while len(_finished(workspace)) <= than + 1 and process.poll() is None:
        assert time.monotonic() < deadline, "the run does not get on"
        time.sleep(0.05)


def test_a_bad_input_ends_the_run_with_its_code_and_one_message(tmp_path):
    source = tmp_path / "plates"
    source.mkdir()
    (source / "fields.csv").write_text("experiment,plate\nE1,P1\n")
    recipe = tmp_path / "bad.yaml"
    recipe.write_text(f"ingest: {{path: {source}}}\n")
    process = start_tiny(tmp_path / "w", recipe=recipe)
    assert process.wait() == 2, process.errors
    assert "well" in process.errors.splitlines()[-1] or "image" in process.errors
    assert "Traceback" not in process.errors
