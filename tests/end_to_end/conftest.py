"""What the whole-chain tests share: one finished run of the tiny demo."""

import pytest

from tests.support.pipeline_runs import run_tiny


@pytest.fixture(scope="session")
def workspace(tmp_path_factory):
    return tmp_path_factory.mktemp("end_to_end") / "workspace"


@pytest.fixture(scope="session")
def first(workspace):
    """The first run, from nothing, under Kubeflow's local runner."""
    return run_tiny(workspace)
