"""A workspace that is a bucket: the outputs of a folder, also when the machines that make them die."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections import Counter
from pathlib import Path

import boto3
import pytest

from tests.support.mlflow_server import mlflow_server
from tests.support.pipeline_runs import FinishedRun, run_tiny, start_tiny
from tests.support.pretraining_processes import ranks_below
from tests.support.programs import Program
from tests.support.s3 import BUCKET, CREDENTIALS, s3_server

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(7200)]

NUM_KILLS = 20
SECONDS_TO_LIVE = (1.0, 14.0)


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A run in a folder that nobody disturbed."""
    return run_tiny(tmp_path_factory.mktemp("reference") / "workspace")


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """The addresses of an object store and of a tracking server."""
    with s3_server() as endpoint, mlflow_server(tmp_path_factory.mktemp("server")) as tracking:
        yield endpoint, tracking


class Machine:
    """A machine that has seen nothing: its own working folder, home and cache."""

    def __init__(self, folder: Path, servers: tuple[str, str]) -> None:
        folder.mkdir()
        self.folder, (self.endpoint, self.tracking) = folder, servers
        self.environment = {
            **CREDENTIALS,
            "AWS_ENDPOINT_URL": self.endpoint,
            "PHENOSCALE_CACHE": str(folder / "cache"),
            "HOME": str(folder),
        }

    def start(self, workspace: str, *flags: str) -> Program:
        """Start the tiny demo."""
        asked = ("--tracking-uri", self.tracking, *flags)
        return start_tiny(workspace, *asked, folder=self.folder, environment=self.environment)

    def run(self, workspace: str, *flags: str) -> FinishedRun:
        """Run the tiny demo to its end."""
        asked = ("--tracking-uri", self.tracking, *flags)
        return run_tiny(workspace, *asked, folder=self.folder, environment=self.environment)


def test_a_bucket_holds_what_a_folder_holds_and_kills_double_nothing(local, servers, tmp_path):
    workspace = f"s3://{BUCKET}/demo"
    chance = random.Random(9)
    ends = Counter()
    for number in range(NUM_KILLS):
        machine = Machine(tmp_path / f"machine{number}", servers)
        process = machine.start(workspace, *(["--in-process"] if number % 2 else []))
        if process.wait(timeout=chance.uniform(*SECONDS_TO_LIVE)) is None:
            _power_cut(process)
        ends[process.returncode] += 1
    last = Machine(tmp_path / "last", servers).run(workspace)
    print(f"ends of {NUM_KILLS} machines: {dict(ends)}; reused at the end: {len(last.reused)} steps")
    assert last.digests == local.digests
    assert set(ends) <= {-signal.SIGKILL, 0}, "a machine refused to go on"
    _nothing_is_doubled(servers[0], last)


def _nothing_is_doubled(endpoint: str, run: FinishedRun) -> None:
    client = boto3.client("s3", endpoint_url=endpoint, **_client_settings())
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="demo/")
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
    complete = {key.rpartition("/")[0] for key in keys if key.endswith("/_SUCCESS.json")}
    outputs = {str(step["output"]).removeprefix(f"s3://{BUCKET}/") for step in run.steps.values()}
    assert complete == outputs
    stages = {output.rpartition("/")[0] for output in outputs}
    strays = [
        key
        for key in keys
        if key.startswith(tuple(f"{stage}/" for stage in stages))
        and not key.startswith(tuple(f"{output}/" for output in outputs))
        and ".lease/" not in key
        and ".parts/" not in key
    ]
    assert strays == []


def _client_settings() -> dict[str, str]:
    return {
        "aws_access_key_id": CREDENTIALS["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        "region_name": CREDENTIALS["AWS_DEFAULT_REGION"],
    }


def _power_cut(process: Program) -> None:
    """Kill a process and all that it has started, at once."""
    for pid in [process.pid, *ranks_below(process.pid)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
