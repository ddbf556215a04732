"""A compiled pipeline on this machine: its steps are heard, and a failing one is told."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from phenoscale.cluster.local_pipeline import run_compiled

COMPILE = '''
import sys
from kfp import compiler, dsl

@dsl.component(base_image="any/python", install_kfp_package=False)
def speak(word: str, number: int) -> str:
    """Print, and say the word twice."""
    print(f"the word is {word}")
    return word * number

@dsl.component(base_image="any/python", install_kfp_package=False)
def wait(word: str, place: str, seconds: str) -> None:
    """Leave this process's id, wait, and fail for the word `fail`."""
    import os, pathlib, sys, time
    pathlib.Path(place, "pid").write_text(str(os.getpid()))
    print(f"got {word}")
    if word.startswith("fail"):
        sys.exit(2)
    time.sleep(float(seconds))
    pathlib.Path(place, "end").write_text("reached")

@dsl.pipeline(name="two-steps")
def two_steps(word: str, place: str, seconds: str):
    spoken = speak(word=word, number=2).set_caching_options(False)
    wait(word=spoken.output, place=place, seconds=seconds).set_caching_options(False)

compiler.Compiler().compile(two_steps, sys.argv[1])
'''
HOST = """
import pathlib, sys
from phenoscale.cluster.local_pipeline import run_compiled
folder = pathlib.Path(sys.argv[1])
def running():
    return [int((folder / "pid").read_text())] if (folder / "pid").exists() else []
arguments = {"word": "go", "place": str(folder), "seconds": "60"}
run_compiled(
    folder.parent / "two_steps.yaml",
    arguments=arguments,
    run_folder=folder,
    on_line=print,
    running_processes=running,
)
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compiled")
    script = folder / "compile.py"
    script.write_text(COMPILE)
    subprocess.run([sys.executable, str(script), str(folder / "two_steps.yaml")], check=True)
    return folder / "two_steps.yaml"


def _run(compiled, folder, *, word):
    lines = []
    folder.mkdir()
    has_succeeded = run_compiled(
        compiled,
        arguments={"word": word, "place": str(folder), "seconds": "0"},
        run_folder=folder,
        on_line=lines.append,
        running_processes=list,
    )
    return has_succeeded, lines


def test_steps_run_in_order_and_only_their_own_lines_come_through(compiled, tmp_path):
    has_succeeded, lines = _run(compiled, tmp_path / "run", word="go")
    assert has_succeeded
    assert lines == ["the word is go", "got gogo"]
    assert (tmp_path / "run" / "end").read_text() == "reached"


def test_everything_that_was_printed_is_in_the_log(compiled, tmp_path):
    _run(compiled, tmp_path / "run", word="go")
    log = (tmp_path / "run" / "pipeline.log").read_text()
    assert "the word is go" in log and "two-steps" in log and "SUCCESS" in log


def test_a_failing_step_fails_the_run_and_the_host_explains_it_in_the_log(compiled, tmp_path):
    has_succeeded, lines = _run(compiled, tmp_path / "run", word="fail")
    assert not has_succeeded
    assert lines[:2] == ["the word is fail", "got failfail"]
    assert not (tmp_path / "run" / "end").exists()


def test_kfp_leaves_nothing_in_the_temporary_folder(compiled, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    folder = tmp_path / "run"
    folder.mkdir()
    code = HOST.replace('"60"', '"0"')
    (tmp_path / "two_steps.yaml").write_bytes(compiled.read_bytes())
    subprocess.run(
        [sys.executable, "-c", code, str(folder)], check=True, env={**os.environ, "TMPDIR": str(scratch)}
    )
    assert list(scratch.iterdir()) == []


def _wait_for(path: Path) -> str:
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.05)
    return path.read_text()


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_an_interrupted_run_stops_its_step(compiled, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (tmp_path / "two_steps.yaml").write_bytes(compiled.read_bytes())
    host = subprocess.Popen([sys.executable, "-c", HOST, str(folder)], stderr=subprocess.DEVNULL)
    pid = int(_wait_for(folder / "pid"))
    assert _is_alive(pid)
    host.send_signal(signal.SIGINT)
    assert host.wait(timeout=60) != 0
    assert not _is_alive(pid)
    assert not (folder / "end").exists()
