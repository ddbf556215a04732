"""What the tests of the registry share: a workspace with a run store, encoders with lineage, and rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from phenoscale.config import Runtime
from phenoscale.registry.config import PromoteConfig, RegisterConfig
from phenoscale.registry.stage import run_promote, run_register
from phenoscale.schema.encoders import EncoderConfig
from phenoscale.schema.rows import Row, canonical_setting, write_rows
from phenoscale.stages import StageResult
from tests.support.pipeline_outputs import encoder_config, made_up, write_probe
from tests.support.run_store import INJECTED, tracked_runtime


@dataclass(frozen=True)
class Workplace:
    """A workspace in which encoders are probed, benchmarked and registered."""

    runtime: Runtime

    @property
    def folder(self) -> Path:
        return Path(self.runtime.workspace)

    def probed(self, *, seed: int = 0, accuracy: float = 0.42, encoder: EncoderConfig | None = None) -> Path:
        """The encoder folder in the output of a probe."""
        raw = self.folder / "raw.txt"
        raw.write_text("raw data")
        config = replace(encoder or encoder_config(), seed=seed)
        output = made_up(
            self.folder,
            "probe",
            build=lambda folder: write_probe(folder, seed=seed, encoder=config, accuracy=accuracy),
            inputs={"manifest": raw},
            source=f"{seed} {accuracy} {config}",
        )
        return output / "encoder"

    def benchmarked(self, **recall: float) -> Path:
        """The output of a benchmark: corrected recall of the trained and the untrained encoder."""
        return made_up(
            self.folder, "benchmark", build=lambda folder: _write_recall(folder, recall), source=str(recall)
        )

    def register(self, encoder: Path, benchmark: Path | str = "", **settings: Any) -> StageResult:
        return run_register(
            RegisterConfig(encoder=str(encoder), benchmark=str(benchmark), runtime=self.runtime, **settings)
        )

    def promote(self, registered: StageResult, **settings: Any) -> StageResult:
        return run_promote(
            PromoteConfig(candidate=str(registered.path), by="Ada", runtime=self.runtime, **settings)
        )

    def champion(self, *, seed: int, recall: float) -> StageResult:
        """Register and promote an encoder."""
        registered = self.register(self.probed(seed=seed), self.benchmarked(trained=recall, untrained=0.2))
        self.promote(registered)
        return registered


def _write_recall(folder: Path, recall: Mapping[str, float]) -> Mapping[str, Any]:
    setting = canonical_setting(lower=0.05, upper=0.95, chance=0.1, step="final")
    rows = [
        Row("recall", "pairs", "recall", setting, value, value - 0.05, value + 0.05, n=200, encoder=name)
        for name, value in recall.items()
    ]
    write_rows(folder, rows)
    return {}


@pytest.fixture(autouse=True)
def _no_injected_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in INJECTED:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    return Workplace(tracked_runtime(tmp_path / "workspace"))
