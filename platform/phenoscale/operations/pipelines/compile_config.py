"""Config of the verb that compiles pipelines."""

from __future__ import annotations

from phenoscale.config import Config, location, setting


class CompileConfig(Config):
    """Compile the pipelines of a checkout to the YAML that Kubeflow runs.

    The package carries the compiled files: only somebody who changes a component or a pipeline needs this.
    """

    pipeline: str = setting("", help="the pipeline to compile; by default all of them")
    output: str = location(
        help="folder for the YAML files; by default that of the package, where `run` finds them"
    )
