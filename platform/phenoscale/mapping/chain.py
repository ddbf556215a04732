"""Fit an ordered list of steps to well embeddings, and apply it again: nothing is refitted in `apply`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pandas as pd

from phenoscale.config.digests import plain
from phenoscale.errors import UserError
from phenoscale.mapping.config import MapConfig
from phenoscale.mapping.steps.step import (
    AggregationStep,
    Fitted,
    FittedAggregate,
    FittedMapStep,
    FittedWellStep,
    MapStep,
    Step,
    WellStep,
)
from phenoscale.schema.embeddings import EmbeddingTable
from phenoscale.schema.maps import PerturbationMap
from phenoscale.schema.rows import BEFORE
from phenoscale.stats.moments import Array


@dataclass(frozen=True)
class FittedStep:
    """One step after fitting: its settings and its fitted value."""

    settings: Step
    fitted: Fitted

    def record(self) -> dict[str, Any]:
        """What `map.json` says of the step: settings and the digest of every fitted parameter."""
        digests = {name: digest_array(value) for name, value in self.fitted.parameters().items()}
        record = {"name": self.settings.name, "settings": plain(self.settings), "parameters": digests}
        return record | self.settings.remarks(self.fitted)[0]

    def warnings(self) -> list[str]:
        """What the step did not do as it was asked."""
        return self.settings.remarks(self.fitted)[1]


@dataclass(frozen=True)
class FittedMap:
    """A map, how it came about, and everything fitted on the way.

    Attributes:
        map: one vector per perturbation and stratum.
        corrected: the wells just before aggregation.
        after_step: the aggregated map after each step, from `0_none` on; empty unless asked for.
        steps: the fitted steps in order.
    """

    map: PerturbationMap
    corrected: EmbeddingTable
    after_step: Mapping[str, PerturbationMap]
    steps: tuple[FittedStep, ...]

    def correct(self, table: EmbeddingTable) -> EmbeddingTable:
        """Apply the well-level steps to wells, which may be new ones of known batches."""
        for step in self.steps:
            if isinstance(step.settings, WellStep):
                fitted = cast(FittedWellStep, step.fitted)
                table = table.with_embeddings(fitted.transform(table.embeddings, table.frame))
        return table

    def apply(self, table: EmbeddingTable) -> PerturbationMap:
        """Map wells with the fitted steps."""
        table = self.correct(table)
        aggregate = next(step for step in self.steps if isinstance(step.settings, AggregationStep))
        result = cast(FittedAggregate, aggregate.fitted).transform(table)
        for step in self.steps:
            if isinstance(step.settings, MapStep):
                result = cast(FittedMapStep, step.fitted).transform(result)
        return replace(result, steps=self.map.steps)


def fit_map(table: EmbeddingTable, *, config: MapConfig, genes: pd.DataFrame | None = None) -> FittedMap:
    """Fit the steps of a config in order, each on the output of those before it.

    Args:
        table: well embeddings; float64 is kept, the statistics are float64 in any case.
        config: the steps, strata and what stays out of the map.
        genes: gene table (gene, arm, expression), needed by steps that name `gene_columns`.

    Raises:
        UserError: what each step's `fit` refuses, or no gene table where one is needed.
    """
    aggregation = next(step for step in config.steps if isinstance(step, AggregationStep))
    fitted: list[FittedStep] = []
    after_step: dict[str, PerturbationMap] = {}

    def averaged() -> PerturbationMap:
        return aggregation.fit(table, config=config).transform(table)

    def keep(current: PerturbationMap) -> None:
        # `aggregate` is no correction, and is not counted
        after_step[f"{len(after_step)}_{fitted[-1].settings.name}"] = _with_records(current, fitted)

    if config.keep_steps:
        after_step[BEFORE] = averaged()
    for step in (step for step in config.steps if isinstance(step, WellStep)):
        of_wells = step.fit(table.embeddings, table.frame)
        table = table.with_embeddings(of_wells.transform(table.embeddings, table.frame))
        fitted.append(FittedStep(step, of_wells))
        if config.keep_steps:
            keep(averaged())
    aggregate = aggregation.fit(table, config=config)
    fitted.append(FittedStep(aggregation, aggregate))
    result = aggregate.transform(table)
    for late in (step for step in config.steps if isinstance(step, MapStep)):
        of_map = late.fit(result, _needed(genes, step=late))
        result = of_map.transform(result)
        fitted.append(FittedStep(late, of_map))
        if config.keep_steps:
            keep(result)
    return FittedMap(_with_records(result, fitted), table, after_step, tuple(fitted))


def _needed(genes: pd.DataFrame | None, *, step: MapStep) -> pd.DataFrame:
    if genes is None and step.gene_columns:
        raise UserError(
            f"{step.name} needs a gene table (gene, {', '.join(step.gene_columns)}), got none; give --genes, "
            "or leave the step out"
        )
    return pd.DataFrame() if genes is None else genes


def _with_records(result: PerturbationMap, fitted: Sequence[FittedStep]) -> PerturbationMap:
    return replace(result, steps=tuple(step.record() for step in fitted))


def digest_array(values: Array) -> str:
    """SHA-256 of an array's type, shape and values."""
    digest = hashlib.sha256(f"{values.dtype.str}{values.shape}".encode())
    digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
