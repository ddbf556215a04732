"""A real browser over its debugging protocol: what a page loads, what it complains about, what it shows."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import websocket

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
    "--window-size=1280,1000",
)
_PATIENCE_SECONDS = 180.0


@dataclass
class Page:
    """A loaded page.

    Attributes:
        requests: addresses that the page asked for.
        complaints: console errors and warnings, and exceptions.
    """

    socket: websocket.WebSocket
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    _last_id: int = 0

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command and wait for its answer; events that come in between are kept."""
        self._last_id += 1
        self.socket.send(json.dumps({"id": self._last_id, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == self._last_id:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            self._keep(message)

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_until(self, script: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while not self.evaluate(script):
            assert time.monotonic() < end, f"{script} has not become true; the page says {self.complaints}"
            time.sleep(0.1)

    def _keep(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"])[:400])
        elif event.get("method") == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.complaints.append(json.dumps(params["args"])[:400])
        elif event.get("method") == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])


@contextlib.contextmanager
def opened(file: Path) -> Iterator[Page]:
    """Open a local file in a browser, or skip where there is none."""
    program = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no chromium on PATH; install Debian's chromium to look at the report in a browser")
    with tempfile.TemporaryDirectory(prefix="phenoscale-browser-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with contextlib.closing(_connect(Path(profile), process)) as socket:
                page = Page(socket)
                for domain in ("Network", "Runtime", "Log", "Page"):
                    page.call(f"{domain}.enable")
                page.call("Page.navigate", url=file.resolve().as_uri())
                page.wait_until("document.readyState === 'complete' && location.protocol === 'file:'")
                yield page
        finally:
            process.terminate()
            process.wait(timeout=60)


def _connect(profile: Path, process: subprocess.Popen[bytes]) -> websocket.WebSocket:
    place = profile / "DevToolsActivePort"
    end = time.monotonic() + _PATIENCE_SECONDS
    while not (place.is_file() and len(place.read_text().splitlines()) == 2):
        assert process.poll() is None, "the browser has ended"
        assert time.monotonic() < end, "the browser does not answer"
        time.sleep(0.1)
    port = place.read_text().splitlines()[0]
    targets = _targets(port)
    page = next(target for target in targets if target["type"] == "page")
    return websocket.create_connection(page["webSocketDebuggerUrl"], timeout=_PATIENCE_SECONDS)


def _targets(port: str) -> list[dict[str, Any]]:
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=_PATIENCE_SECONDS) as answer:
        found: list[dict[str, Any]] = json.load(answer)
    return found
