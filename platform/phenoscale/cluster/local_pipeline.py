"""Run a compiled pipeline on this machine with kfp.local: a child process hosts kfp, every step is a process.

kfp.local keeps global state, prints a lot and hands no exit code on. So it gets a process to itself; its
output goes to a log file and to `on_line`, and the exit codes come back through the records that the steps
leave in the run folder. Run as `python -m phenoscale.cluster.local_pipeline REQUEST.json`, it is that child.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_KFP_LOG = re.compile(r"^\d\d:\d\d:\d\d\.\d{3} - ")
_KFP_EXECUTOR = re.compile(r"^\[KFP Executor ")
_SECONDS_TO_STOP = 90.0


def run_compiled(
    specification: Path,
    *,
    arguments: Mapping[str, str],
    run_folder: Path,
    on_line: Callable[[str], None],
    running_processes: Callable[[], Sequence[int]],
) -> bool:
    """Run a compiled pipeline to its end.

    Args:
        specification: the compiled YAML.
        arguments: the pipeline's parameters.
        run_folder: kfp's artifacts, `pipeline.log` and the steps' records go here.
        on_line: called with each line that a step printed, kfp's own lines left out.
        running_processes: the ids of the processes of the steps that are running now.

    Returns:
        Whether every step succeeded.

    When this process is told to stop, the running step is asked to stop first and given time to save.
    """
    request = run_folder / "request.json"
    request.write_text(json.dumps({"specification": str(specification), "arguments": dict(arguments)}))
    with tempfile.TemporaryDirectory(prefix="phenoscale-") as scratch, _start(request, scratch) as host:
        try:
            _follow(host, log=run_folder / "pipeline.log", on_line=on_line)
            return host.wait() == 0
        except BaseException:
            _stop(host, running_processes())
            raise
        finally:
            _kill_group(host)


def _start(request: Path, scratch: str) -> subprocess.Popen[str]:
    """Start the child; kfp leaves one scratch folder a step behind, in a place where they are removed."""
    return subprocess.Popen(
        [sys.executable, "-m", "phenoscale.cluster.local_pipeline", str(request)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        start_new_session=True,
        env={**os.environ, "TMPDIR": scratch, "PYTHONUNBUFFERED": "1"},
    )


def _follow(host: subprocess.Popen[str], *, log: Path, on_line: Callable[[str], None]) -> None:
    assert host.stdout is not None, "the host was started with a pipe"
    output = _StepOutput()
    with log.open("w", encoding="utf-8", buffering=1) as file:
        for line in host.stdout:
            file.write(line)
            text = output.read(line.rstrip())
            if text:
                on_line(text)


class _StepOutput:
    """Tells the lines that steps print from those of kfp, which puts them between two lines of its own."""

    def __init__(self) -> None:
        self._is_in_step = self._is_in_json = False

    def read(self, line: str) -> str:
        """What a step printed in this line; empty for a line of kfp."""
        if _KFP_LOG.match(line):
            self._is_in_step = line.endswith("Streamed logs:")
            return ""
        text = line.removeprefix("    ")
        if not self._is_in_step or _KFP_EXECUTOR.match(text):
            # The executor prints its whole input as a JSON object over many lines before the step starts.
            self._is_in_json = text.endswith("Got executor_input:")
            return ""
        if self._is_in_json:
            self._is_in_json = text != "}"
            return ""
        return text


def _stop(host: subprocess.Popen[str], processes: Sequence[int]) -> None:
    """Ask the running step to stop and give it time to save; kfp then ends by itself."""
    for process in processes:
        _signal(process, signal.SIGTERM)
    try:
        host.communicate(timeout=_SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        _kill_group(host)


def _kill_group(host: subprocess.Popen[str]) -> None:
    try:
        os.killpg(host.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    host.wait()


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def host_kfp(request: Path) -> int:
    """Be the child: run the requested pipeline with kfp's SubprocessRunner.

    Returns:
        0 when every step succeeded, otherwise 1; the reason is in the steps' records.
    """
    from kfp import components, local

    asked = json.loads(request.read_text())
    local.init(
        runner=local.SubprocessRunner(use_venv=False),
        pipeline_root=str(request.parent / "kfp"),
        workspace_root=str(request.parent / "kfp-workspace"),
        raise_on_error=True,
    )
    pipeline = components.load_component_from_file(asked["specification"])
    try:
        pipeline(**asked["arguments"])
    except RuntimeError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(host_kfp(Path(sys.argv[1])))
