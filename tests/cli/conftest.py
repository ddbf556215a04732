"""The command as a real process, with one more verb whose behavior the tests choose."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TRYING = '''
import dataclasses, os, signal, sys, time
from phenoscale.config import Config, Runtime, location, setting
from phenoscale.errors import RetryError, UserError
from phenoscale.logs import get_logger
from phenoscale.stages import run_stage

class TryConfig(Config):
    """Try something.

    Whatever the tests ask for.
    """

    end: str = setting("well", help="how it ends")
    amount: int = setting(1, gt=0, help="a number")
    table: str = location(help="an input")
    runtime: Runtime = Runtime()

@dataclasses.dataclass(frozen=True)
class Answer:
    end: str
    amount: int

def run_try(config):
    get_logger("trying").info("end=%s", config.end)
    if config.end == "user":
        raise UserError("3 wells, at least 4 are needed; image more")
    if config.end == "retry":
        raise RetryError("the store is away")
    if config.end == "full":
        open("/dev/full", "wb", buffering=0).write(b"x")
    if config.end == "bug":
        raise KeyError("wells")
    if config.end == "wait":
        print("waiting", flush=True)
        time.sleep(60)
    if config.end == "chatty":
        print("a library says hello")
    if config.end == "many":
        return "line\\n" * 100_000
    return Answer(config.end, config.amount)

def run_try_stage(config):
    def build(output):
        folder = output.folder
        (folder / "a").write_text(config.end)
        return {"amount": config.amount, "nested": {"b": [1, 2]}}
    inputs = {"table": config.table}
    return run_stage("try", entry="phenoscale.stages.run", config=config, inputs=inputs, build=build)

def execute(verb, config):
    return run_try_stage(config)

def plan_try(config):
    return f"would end {config.end}"
'''
PLATFORM = Path(__file__).parents[2] / "platform"
PROGRAM = """
import sys
import phenoscale.cli.main as main
from phenoscale.cli.verbs import VERBS, Verb
VERBS["try"] = Verb("try", config="trying:TryConfig", function="trying:run_try", plan="trying:plan_try")
VERBS["try stage"] = Verb("try", config="trying:TryConfig", function="trying:run_try_stage", is_stage=True)
sys.exit(main.main())
"""


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts `phenoscale` with arguments in an empty folder; `try` is a verb of these tests."""
    (tmp_path / "trying.py").write_text(TRYING)

    def run(*arguments: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{PLATFORM}", "TMPDIR": str(tmp_path)},
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


@pytest.fixture
def command(start: Callable[..., subprocess.Popen[str]]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `phenoscale` with arguments to its end."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        with start(*arguments) as process:
            output, errors = process.communicate()
        return subprocess.CompletedProcess(arguments, process.returncode, output, errors)

    return run
