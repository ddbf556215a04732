"""Compile pipelines: `python -m pipelines.compiler FOLDER NAME...`, which `phenoscale compile` runs."""

import sys
from pathlib import Path

from kfp import compiler

from phenoscale.operations.pipelines.table import find_pipeline
from phenoscale.operations.pipelines.value import Pipeline
from pipelines.chain import kubeflow_pipeline


def compile_pipeline(pipeline: Pipeline, *, folder: Path) -> Path:
    """Write `<name>.yaml` for a pipeline and return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{pipeline.name}.yaml"
    compiler.Compiler().compile(kubeflow_pipeline(pipeline), str(path))
    return path


if __name__ == "__main__":
    for name in sys.argv[2:]:
        sys.stdout.write(f"{compile_pipeline(find_pipeline(name), folder=Path(sys.argv[1]))}\n")
