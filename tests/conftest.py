"""What every test runs under: few threads, no telemetry, reproducible property tests."""

import hashlib
import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from phenoscale.logs import ROOT_LOGGER
from tests.support.real_data import find_real_data
from tests.support.s3 import BUCKET, CREDENTIALS, s3_server

# Set before torch, OpenMP or MLflow are imported by a test.
for _name, _value in {
    "OMP_NUM_THREADS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "AWS_EC2_METADATA_DISABLED": "true",
}.items():
    os.environ.setdefault(_name, _value)

hypothesis.settings.register_profile(
    "house", deadline=None, database=None, derandomize=True, max_examples=50, print_blob=False
)
hypothesis.settings.load_profile("house")

# Shells start background jobs with SIGINT ignored, and children inherit that: tests that interrupt a process
# must also work when the test run itself is such a job.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a file stay on one worker, for their fixtures; those of several processes too, in front."""
    items.sort(key=lambda item: item.get_closest_marker("ranks") is None)
    for item in items:
        group = "ranks" if item.get_closest_marker("ranks") else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a GPU that torch can use")


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """Verbs that run in this process set the log up; the next test finds it as this one did."""
    logger = logging.getLogger(ROOT_LOGGER)
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    yield
    logger.handlers[:], logger.propagate = handlers, propagate
    logger.setLevel(level)


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Place of a folder of real data; the test skips where it is not there."""
    return find_real_data


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """An empty workspace for stage outputs."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Address of a running S3 server with one bucket."""
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def s3_uri(
    s3_endpoint: str, *, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, tmp_path: Path
) -> str:
    """An empty prefix of the bucket, of this test alone, with a cache of its own."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("PHENOSCALE_CACHE", str(tmp_path / "cache"))
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16]}"
