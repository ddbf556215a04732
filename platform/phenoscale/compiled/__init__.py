"""The compiled Kubeflow pipelines that the package carries, as `phenoscale compile` writes them."""

from pathlib import Path


def compiled_pipeline(name: str) -> Path:
    """The YAML of a compiled pipeline."""
    return Path(__file__).parent / f"{name}.yaml"
