"""Run a stage in this process."""

from __future__ import annotations

from phenoscale.config import Config
from phenoscale.operations.stage_table import find_stage
from phenoscale.stages import Observer, StageResult


def launch(stage: str, config: Config, *, observe: Observer) -> StageResult:
    """Run a stage here and now."""
    return find_stage(stage).load_function()(config, observe=observe)
