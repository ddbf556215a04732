"""A stage under a tracked run on a real MLflow store; nothing is tracked of a reused one."""

import pytest
from mlflow import MlflowClient

from phenoscale.config import Runtime
from phenoscale.curation.config import CurateConfig
from phenoscale.errors import UserError
from phenoscale.operations.execute import execute
from phenoscale.operations.launchers.table import LAUNCHERS
from phenoscale.operations.stage_table import find_stage
from tests.support.screens import make_tiny_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_tiny_store(tmp_path_factory.mktemp("screens") / "store")


def _config(store, workspace, **settings):
    return CurateConfig(stores=[str(store)], runtime=Runtime(workspace=str(workspace)), **settings)


def _runs(workspace):
    client = MlflowClient(f"sqlite:///{workspace / 'mlflow.db'}")
    experiments = [found.experiment_id for found in client.search_experiments()]
    return client.search_runs(experiments)


def test_a_stage_leaves_its_settings_inputs_and_numbers_in_a_tracked_run(store, workspace):
    result = execute(
        "curate", _config(store, workspace, min_wells=1), name="curate again", tags={"step": "c"}
    )
    (run,) = _runs(workspace)
    assert (run.info.run_name, run.info.status) == ("curate again", "FINISHED")
    assert run.data.params["min_wells"] == "1"
    assert "stores" not in run.data.params, "a place is not a setting"
    assert run.data.tags["digest"] == result.digest
    assert run.data.tags["step"] == "c"
    assert run.data.metrics["num_fields"] == result.summary["num_fields"]
    assert [entry.dataset.name for entry in run.inputs.dataset_inputs] == ["stores[0]"]


def test_a_reused_stage_opens_no_run(store, workspace):
    first = execute("curate", _config(store, workspace))
    again = execute("curate", _config(store, workspace))
    assert again.reused and again.digest == first.digest
    assert len(_runs(workspace)) == 1


def test_what_the_user_got_wrong_leaves_no_trace(store, workspace):
    with pytest.raises(UserError):
        execute("curate", _config(store / "nowhere", workspace))
    assert not (workspace / "mlflow.db").exists()


def test_an_unknown_stage_is_refused_with_the_names_that_exist():
    with pytest.raises(UserError, match="no stage 'crate'; choose one of: simulate, ingest, curate"):
        find_stage("crate")


def launch_nothing(stage, config, *, observe):
    """A launcher with a bug."""
    raise OSError(f"{stage} has no manifest")


def test_a_stage_that_breaks_is_on_record_as_failed(store, workspace, monkeypatch):
    monkeypatch.setitem(LAUNCHERS, "in_process", f"{__name__}:launch_nothing")
    with pytest.raises(OSError, match="manifest"):
        execute("curate", _config(store, workspace))
    (run,) = _runs(workspace)
    assert run.info.status == "FAILED"
    assert "manifest" in run.data.tags["failure"]
