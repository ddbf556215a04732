"""Small stages with real files: a source tree of its own, configs, and programs that are killed for real."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from phenoscale.config import Config, Runtime, location, setting
from phenoscale.stages import Output, StageResult, run_stage

SOURCES = {
    "__init__.py": '"""The library."""\nfrom phenoscale.mapping.stage import run_map\n',
    "errors.py": '"""Errors."""\n',
    "pixels/__init__.py": "",
    "pixels/reading.py": '"""Reading."""\nGAIN = 1\n',
    "embedding/__init__.py": "",
    "embedding/stage.py": "from phenoscale.pixels import reading\nimport phenoscale.errors\n",
    "mapping/__init__.py": "from .steps import center\n",
    "mapping/steps.py": "def center():\n    from phenoscale.stats.moments import mean\n",
    "mapping/stage.py": "from . import steps\n",
    "stats/__init__.py": "",
    "stats/moments.py": "def mean(): ...\n",
    "unused.py": "VALUE = 1\n",
}


class EmbedConfig(Config):
    """Config of the first small stage."""

    gain: int = setting(1, help="factor")
    table: str = location(help="raw table")
    runtime: Runtime = Runtime()


class MapConfig(Config):
    """Config of the second small stage."""

    shift: int = setting(0, help="summand")
    embeddings: str = location(help="output of the first stage")
    runtime: Runtime = Runtime()


def write_sources(root: Path, changed: Mapping[str, str] | None = None) -> Path:
    """Write the source tree, with some files changed, and return its root."""
    for name, text in {**SOURCES, **(changed or {})}.items():
        path = root / "phenoscale" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


class Chain:
    """Two stages in a row over a raw table: embed multiplies its numbers, map adds to them."""

    def __init__(self, folder: Path) -> None:
        self.table = folder / "table.txt"
        self.table.write_text("1 2 3")
        self.workspace: Path | str = folder / "workspace"
        self.root = write_sources(folder / "sources")
        self.built: list[str] = []

    def embed(self, gain: int = 1) -> StageResult:
        """Run the first stage."""
        config = EmbedConfig(gain=gain, runtime=self.runtime())

        def build(output: Output) -> dict[str, int]:
            folder = output.folder
            self.built.append("embed")
            numbers = [gain * int(text) for text in self.table.read_text().split()]
            (folder / "wells").mkdir(exist_ok=True)
            (folder / "wells" / "numbers.txt").write_text(" ".join(map(str, numbers)))
            (folder / "header.txt").write_text("wells")
            return {"num_wells": len(numbers)}

        return run_stage(
            "embed",
            entry="phenoscale.embedding.stage",
            config=config,
            inputs={"table": self.table},
            build=build,
            source_root=self.root,
        )

    def map(self, embeddings: Path, *, shift: int = 0) -> StageResult:
        """Run the second stage."""
        config = MapConfig(shift=shift, embeddings=str(embeddings), runtime=self.runtime())

        def build(output: Output) -> dict[str, int]:
            folder = output.folder
            self.built.append("map")
            numbers = (embeddings / "wells" / "numbers.txt").read_text().split()
            (folder / "map.txt").write_text(" ".join(str(int(number) + shift) for number in numbers))
            return {}

        return run_stage(
            "map",
            entry="phenoscale.mapping.stage",
            config=config,
            inputs={"embeddings": embeddings},
            build=build,
            source_root=self.root,
        )

    def run(self, *, gain: int = 1, shift: int = 0) -> list[str]:
        """Run both stages and return the names of those that were built."""
        self.built.clear()
        embeddings = self.embed(gain)
        self.map(embeddings.path, shift=shift)
        return list(self.built)

    def runtime(self) -> Runtime:
        """Where the stages write."""
        return Runtime(workspace=str(self.workspace))


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    """Two small stages that have not run."""
    return Chain(tmp_path)


PROGRAM = """
import os, sys, time
from pathlib import Path
from phenoscale.config import Config, Runtime, setting
from phenoscale.errors import exit_code_of
from phenoscale.stages import run_stage

class SlowConfig(Config):
    num_parts: int = setting(5, help="parts")
    runtime: Runtime = Runtime()

def build(output):
    folder = output.folder
    found = sum(1 for path in folder.glob("part*.txt"))
    print("found", found, flush=True)
    for number in range(found, 5):
        BODY
        (folder / f".part{number}").write_text(str(number) * 1000)
        (folder / f".part{number}").rename(folder / f"part{number}.txt")
        print("wrote", number, flush=True)
    return {"num_parts": 5}

try:
    config = SlowConfig(runtime=Runtime(workspace=sys.argv[1]))
    result = run_stage("slow", entry="phenoscale.stages.run", config=config, inputs={}, build=build)
except Exception as error:
    print("failed", error, flush=True)
    sys.exit(exit_code_of(error))
print("digest", result.digest, result.reused, flush=True)
"""


@pytest.fixture
def start_slow_stage(workspace: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts a process that runs a stage of five parts; `body` runs before each part."""

    def start(body: str = "pass") -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM.replace("BODY", body), str(workspace)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    return start
