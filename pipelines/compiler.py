"""Compile every pipeline to YAML: `python -m pipelines.compiler FOLDER`, which `phenoscale compile` runs."""

import sys
from pathlib import Path

from kfp import compiler

from pipelines.families import families, families_simulated
from pipelines.full import full, full_simulated

PIPELINES = {
    "full": full,
    "full_simulated": full_simulated,
    "families": families,
    "families_simulated": families_simulated,
}


def compile_pipelines(folder: Path) -> list[Path]:
    """Write `<name>.yaml` for every pipeline and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, pipeline in PIPELINES.items():
        path = folder / f"{name}.yaml"
        compiler.Compiler().compile(pipeline, str(path))
        written.append(path)
    return written


if __name__ == "__main__":
    sys.stdout.writelines(f"{path}\n" for path in compile_pipelines(Path(sys.argv[1])))
