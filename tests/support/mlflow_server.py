"""A real MLflow server with proxied artifacts on SQLite, as on a cluster."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.support.run_store import first_use

_SECONDS_TO_START = 300


@contextlib.contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Run the server with its database and artifacts in a folder, and yield its address."""
    (folder / "mlflow.db").write_bytes(first_use().database)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--workers", "1"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, env=dict(os.environ), start_new_session=True
        )
        try:
            _wait_for(f"http://127.0.0.1:{port}/health", server, log=folder / "log")
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(server.pid, 15)
            server.wait(timeout=30)


def _wait_for(url: str, server: subprocess.Popen[bytes], *, log: Path) -> None:
    end = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise AssertionError(log.read_text())
