"""The `compile` verb: pipelines and components are packages of the checkout, and compiled there."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import phenoscale
from phenoscale.compiled import compiled_pipeline
from phenoscale.errors import PhenoscaleError, UserError
from phenoscale.operations.pipelines.compile_config import CompileConfig
from phenoscale.operations.pipelines.table import PIPELINES, find_pipeline
from phenoscale.storage import check_output_folder


@dataclass(frozen=True)
class Compiled:
    """The files that `compile` wrote."""

    files: tuple[str, ...]

    def text(self) -> str:
        """One line a file."""
        return "\n".join(f"compiled {file}" for file in self.files)


def run_compile(config: CompileConfig) -> Compiled:
    """Compile pipelines of the checkout that this package belongs to.

    Raises:
        UserError: when the package was installed without its checkout, there is no such pipeline, or nothing
            can be written there.
    """
    package = Path(phenoscale.__file__).parent
    checkout = package.parent.parent
    if not (checkout / "pipelines" / "compiler.py").is_file():
        raise UserError(
            f"compile needs a checkout of Phenoscale, and {package} is not part of one; clone the project, "
            f"`pip install -e .` there, or use the compiled pipelines in {package / 'compiled'}"
        )
    names = [find_pipeline(config.pipeline).name] if config.pipeline else list(PIPELINES)
    check_output_folder(config.output)
    folder = Path(config.output).resolve() if config.output else compiled_pipeline("full").parent
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.compiler", str(folder), *names],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise PhenoscaleError(f"the pipelines do not compile:\n{done.stderr.strip()}")
    return Compiled(tuple(done.stdout.split()))
