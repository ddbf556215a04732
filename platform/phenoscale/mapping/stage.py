"""The `map` verb: read well embeddings, fit the steps, write the map, every step's map and what was fitted.

Output: `map.parquet` and `map.json`; `steps/<i>_<name>.parquet`, the aggregated map after each step;
`corrected/`, the wells just before aggregation; `parameters/<i>_<name>.npz`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from phenoscale.config import require
from phenoscale.errors import UserError
from phenoscale.files import written_whole
from phenoscale.logs import get_logger
from phenoscale.mapping.chain import FittedMap, FittedStep, fit_map
from phenoscale.mapping.config import MapConfig
from phenoscale.mapping.genes import read_genes
from phenoscale.schema.embeddings import EmbeddingTable, read_embeddings, table_of_level, write_embeddings
from phenoscale.schema.maps import write_bare_map, write_map
from phenoscale.stages import Observer, Output, StageResult, ignore, run_stage
from phenoscale.stats.moments import Array

STEPS_FOLDER = "steps"
CORRECTED_FOLDER = "corrected"
PARAMETERS_FOLDER = "parameters"

logger = get_logger(__name__)


def run_map(config: MapConfig, *, observe: Observer = ignore) -> StageResult:
    """Make a map of perturbations from well embeddings.

    Raises:
        UserError: no embeddings, no gene table for arm_correction, or what a step refuses.
    """
    inputs = {"embeddings": table_of_level(require(config, "embeddings", verb="map"), level="well")}
    if config.gene_columns:
        named = ", ".join(step.name for step in config.steps if step.gene_columns)
        inputs["genes"] = Path(require(config, "genes", verb=f"map with {named}"))
    return run_stage(
        "map",
        entry=__name__,
        config=config,
        inputs=inputs,
        modules=[type(step).__module__ for step in config.steps],
        build=partial(_build, config=config, inputs=inputs, observe=observe),
    )


def read_wells(path: Path) -> EmbeddingTable:
    """Read well embeddings in float64, the precision of all mapping.

    Raises:
        UserError: rows of another level.
    """
    table = read_embeddings(path)
    if table.level not in ("well", "field", "crop"):
        raise UserError(
            f"{path} holds embeddings of the level {table.level!r}, but a map is made from wells; give the "
            "output "
            "of `embed`"
        )
    return table.with_embeddings(table.embeddings.astype(np.float64))


def _build(
    output: Output, *, config: MapConfig, inputs: Mapping[str, Path], observe: Observer
) -> Mapping[str, Any]:
    folder = output.folder
    table = read_wells(inputs["embeddings"])
    fitted = fit_map(table, config=config, genes=_read_genes(config, inputs.get("genes")))
    for name, after in fitted.after_step.items():
        write_bare_map(folder / STEPS_FOLDER / f"{name}.parquet", after)
    for number, step in enumerate(fitted.steps, start=1):
        _write_parameters(folder / PARAMETERS_FOLDER / f"{number}_{step.settings.name}.npz", step)
        for warning in step.warnings():
            logger.warning("%s", warning)
    write_embeddings(folder / CORRECTED_FOLDER, fitted.corrected)
    write_map(folder, fitted.map)
    summary = _summary(table, fitted)
    observe(
        len(fitted.steps), {name: float(value) for name, value in summary.items() if isinstance(value, int)}
    )
    return summary


def _summary(table: EmbeddingTable, fitted: FittedMap) -> dict[str, Any]:
    return {
        **({"num_screens": int(table.frame["screen"].nunique())} if "screen" in table.frame else {}),
        "num_wells": len(table),
        "num_perturbations": len(fitted.map),
        "dimensions": fitted.map.dimensions,
        "num_corrected_arms": sum(len(step.record().get("corrected_arms", ())) for step in fitted.steps),
        "steps": [step.settings.name for step in fitted.steps],
    }


def _read_genes(config: MapConfig, path: Path | None) -> pd.DataFrame | None:
    return None if path is None else read_genes(path, columns=config.gene_columns)


def _write_parameters(file: Path, step: FittedStep) -> None:
    with written_whole(file) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **_named(step.fitted.parameters()))


def _named(parameters: dict[str, Array]) -> dict[str, Any]:
    return dict(parameters)
