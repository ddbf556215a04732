"""One pipeline's outputs and their report, made once for all tests of the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from phenoscale.config import Runtime
from phenoscale.registry.gates import GateResult
from phenoscale.registry.records import Promotion, RegisteredVersion, registered_to_json
from phenoscale.reports.config import ReportConfig
from phenoscale.reports.stage import run_report
from phenoscale.stages import StageResult
from tests.support.pipeline_outputs import Outputs, made_up, make_pipeline_outputs


@dataclass(frozen=True)
class Reported:
    """The outputs, the config and the report over them."""

    outputs: Outputs
    config: ReportConfig
    result: StageResult

    @property
    def file(self) -> Path:
        return self.result.path / "report.html"


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    outputs = make_pipeline_outputs(tmp_path_factory.mktemp("pipeline"), num_modules=6)
    registered = made_up(
        outputs.workspace, "register", build=_write_registered, inputs={"encoder": outputs.encoder}
    )
    promoted = made_up(outputs.workspace, "promote", build=_write_promotion, inputs={"candidate": registered})
    config = ReportConfig(
        title="Screen of <six> modules & more",
        **outputs.report_places(),
        registered=str(registered),
        promoted=str(promoted),
        runtime=Runtime(workspace=str(outputs.workspace)),
    )
    return Reported(outputs, config, run_report(config))


def _write_registered(folder: Path) -> Mapping[str, Any]:
    version = RegisteredVersion(
        name="phenoscale-encoder",
        version="3",
        encoder_digest="e" * 64,
        uri="models:/phenoscale-encoder/3",
        label="trained",
        untrained="untrained",
        null_check="holds",
    )
    (folder / "registered.json").write_text(registered_to_json(version))
    return {"version": "3"}


def _write_promotion(folder: Path) -> Mapping[str, Any]:
    gates = (
        GateResult("null check", passed=True, value=0.31, asked="above 0.1000"),
        GateResult("recall holds the champion's", passed=True, value=0.42, asked="at least 0.3900"),
    )
    promotion = Promotion(
        name="phenoscale-encoder",
        version="3",
        encoder_digest="e" * 64,
        decision="promoted",
        gates=gates,
        champion_compared="2",
        by="Ada",
        at="2026-11-20T09:00:00+00:00",
    )
    (folder / "promotion.json").write_text(promotion.to_json())
    return {"decision": "promoted"}
