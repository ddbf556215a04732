"""What the tests of tracking share: a run store, and no run injected from outside."""

from __future__ import annotations

from pathlib import Path

import pytest

from phenoscale.config import Runtime
from tests.support.run_store import INJECTED, tracked_runtime


@pytest.fixture(autouse=True)
def _no_injected_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in INJECTED:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def tracked(tmp_path: Path) -> Runtime:
    return tracked_runtime(tmp_path)
