"""The registry behind a real MLflow server with proxied artifacts, as on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from phenoscale.config import Runtime
from phenoscale.registry.config import RollbackConfig
from phenoscale.registry.fetch import fetch_encoder
from phenoscale.registry.stage import run_rollback
from phenoscale.schema.encoders import encoder_digest
from phenoscale.tracking.outbox import OutboxTimes
from phenoscale.tracking.server import connect
from phenoscale.tracking.tracker import open_tracker
from tests.registry.conftest import Workplace
from tests.support.mlflow_server import mlflow_server

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("server")) as address:
        yield address


def test_register_promote_fetch_and_roll_back_over_http(address: str, tmp_path: Path) -> None:
    workplace = Workplace(
        Runtime(workspace=str(tmp_path / "workspace"), tracking_uri=address, experiment_name="on the server")
    )
    workplace.folder.mkdir()
    first = workplace.probed(seed=1)
    workplace.champion(seed=1, recall=0.4)
    assert workplace.champion(seed=2, recall=0.5).summary["version"] == "2"
    assert run_rollback(RollbackConfig(reason="x", runtime=workplace.runtime)).champion == "1"
    elsewhere = workplace.runtime.model_copy(update={"workspace": str(tmp_path / "elsewhere")})
    fetched = fetch_encoder("models:/phenoscale-encoder@champion", runtime=elsewhere)
    assert encoder_digest(fetched) == encoder_digest(first)


def test_a_tracked_run_arrives_with_its_curves_and_files(address: str, tmp_path: Path) -> None:
    runtime = Runtime(workspace=str(tmp_path), tracking_uri=address, experiment_name="on the server")
    figure = tmp_path / "figure.svg"
    figure.write_text("<svg/>")
    with open_tracker(runtime, stage="pretrain", times=OutboxTimes(patience_at_end_seconds=60)) as tracker:
        for step in range(300):
            tracker.log_metrics(step, {"loss": 1.0 / (step + 1)})
        tracker.log_figure(figure)
    client = connect(runtime)
    assert len(client.get_metric_history(tracker.run_id, "loss")) == 300
    assert [file.path for file in client.list_artifacts(tracker.run_id, "figures")] == ["figures/figure.svg"]
    assert client.get_run(tracker.run_id).info.status == "FINISHED"
