"""The verbs as Python functions: settings as keywords, configs and outputs as on the command line.

import phenoscale

screen = phenoscale.simulate(seed=1, runtime={"workspace": "w"})
summary = phenoscale.run("demo", workspace="w")
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from phenoscale.config import load_config, parse_config
from phenoscale.operations.execute import execute
from phenoscale.operations.pipelines.config import config_class
from phenoscale.operations.pipelines.table import find_pipeline
from phenoscale.operations.running.run import run_pipeline
from phenoscale.operations.running.summary import RunSummary
from phenoscale.operations.stage_table import STAGES
from phenoscale.recipes import find_recipe
from phenoscale.stages import StageResult


def run(
    recipe: str, *, workspace: str, pipeline: str = "full", settings: Mapping[str, Any] | None = None
) -> RunSummary:
    """Run a pipeline as `phenoscale run PIPELINE --config RECIPE --workspace WORKSPACE` does.

    Args:
        recipe: name of a recipe of the package, or path of a YAML file.
        workspace: folder that holds the outputs of all stages.
        pipeline: which pipeline the recipe is for.
        settings: further fields by their dotted names: {"pretrain.num_steps": 100}.
    """
    flags = {**(settings or {}), "runtime.workspace": workspace}
    return run_pipeline(load_config(config_class(find_pipeline(pipeline)), find_recipe(recipe), flags=flags))


def simulate(**settings: Any) -> StageResult:
    """Draw a screen with a known answer; the settings are SimulateConfig's."""
    return _stage("simulate", settings)


def probe(**settings: Any) -> StageResult:
    """Probe every block of an encoder; the settings are ProbeConfig's."""
    return _stage("probe", settings)


def embed(**settings: Any) -> StageResult:
    """Embed every well of a screen; the settings are EmbedConfig's."""
    return _stage("embed", settings)


def benchmark(**settings: Any) -> StageResult:
    """Score maps and embeddings; the settings are BenchmarkConfig's."""
    return _stage("benchmark", settings)


def _stage(verb: str, settings: Mapping[str, Any]) -> StageResult:
    config = parse_config(STAGES[verb].load_config_class(), settings, source=f"phenoscale.{verb}()")
    return execute(verb, config)
