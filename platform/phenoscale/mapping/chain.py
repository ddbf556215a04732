"""Fit an ordered list of steps to well embeddings, and apply it again: nothing is refitted in `apply`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd

from phenoscale.config.digests import plain
from phenoscale.errors import UserError
from phenoscale.mapping.aggregate import Aggregate, fit_aggregate
from phenoscale.mapping.arms import ArmCorrection, fit_arm_correction
from phenoscale.mapping.center import fit_center
from phenoscale.mapping.config import (
    AggregateStep,
    ArmCorrectionStep,
    CenterScaleStep,
    CenterStep,
    MapConfig,
    PcaStep,
    PositionStep,
    Step,
    TvnStep,
)
from phenoscale.mapping.pca import fit_pca
from phenoscale.mapping.position import fit_position
from phenoscale.mapping.tvn import fit_tvn
from phenoscale.schema.columns import Embeddings
from phenoscale.schema.embeddings import EmbeddingTable
from phenoscale.schema.maps import PerturbationMap
from phenoscale.stats.moments import Array


class FittedWellStep(Protocol):
    """A fitted well-level step."""

    def transform(self, embeddings_ND: Embeddings, wells: pd.DataFrame) -> Embeddings:
        """Map vectors of wells."""

    def parameters(self) -> dict[str, Array]:
        """The fitted arrays."""


@dataclass(frozen=True)
class FittedStep:
    """One step after fitting: its settings and its fitted value."""

    settings: Step
    fitted: FittedWellStep | Aggregate | ArmCorrection

    def record(self) -> dict[str, Any]:
        """What `map.json` says of the step: settings and the digest of every fitted parameter."""
        digests = {name: digest_array(value) for name, value in self.fitted.parameters().items()}
        record = {"name": self.settings.name, "settings": plain(self.settings), "parameters": digests}
        fallbacks: Mapping[str, str] = getattr(self.fitted, "fallbacks", {})
        if fallbacks:
            record["fallbacks"] = dict(fallbacks)
        if isinstance(self.fitted, ArmCorrection):
            record["corrected_arms"] = [list(place) for place in self.fitted.places]
        return record


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
            if isinstance(step.fitted, Aggregate):
                break
            assert not isinstance(step.fitted, ArmCorrection), "gene-level steps stand after aggregate"
            table = table.with_embeddings(step.fitted.transform(table.embeddings, table.frame))
        return table

    def apply(self, table: EmbeddingTable) -> PerturbationMap:
        """Map wells with the fitted steps."""
        table = self.correct(table)
        result: PerturbationMap | None = None
        for step in self.steps:
            if isinstance(step.fitted, Aggregate):
                result = step.fitted.transform(table)
            elif isinstance(step.fitted, ArmCorrection):
                assert result is not None, "gene-level steps stand after aggregate"
                result = step.fitted.transform(result)
        assert result is not None, "a map needs one aggregate step"
        return replace(result, steps=self.map.steps)


def fit_map(table: EmbeddingTable, *, config: MapConfig, genes: pd.DataFrame | None = None) -> FittedMap:
    """Fit the steps of a config in order, each on the output of those before it.

    Args:
        table: well embeddings; float64 is kept, the statistics are float64 in any case.
        config: the steps, strata and what stays out of the map.
        genes: gene table (gene, arm, expression), needed by `arm_correction`.

    Raises:
        UserError: what each step's `fit` function refuses, or no gene table where one is needed.
    """
    middle = next(index for index, step in enumerate(config.steps) if isinstance(step, AggregateStep))
    fitted: list[FittedStep] = []
    after_step: dict[str, PerturbationMap] = {}
    if config.keep_steps:
        after_step["0_none"] = _fit_aggregate(table, config).transform(table)
    for number, step in enumerate(config.steps[:middle], start=1):
        value = _fit_well_step(table, step)
        table = table.with_embeddings(value.transform(table.embeddings, table.frame))
        fitted.append(FittedStep(step, value))
        if config.keep_steps:
            current = _fit_aggregate(table, config).transform(table)
            after_step[f"{number}_{step.name}"] = _with_records(current, fitted)
    aggregate = _fit_aggregate(table, config)
    fitted.append(FittedStep(config.steps[middle], aggregate))
    result = aggregate.transform(table)
    for number, step in enumerate(config.steps[middle + 1 :], start=middle + 1):
        correction = _fit_arms(result, genes, step=step)
        result = correction.transform(result)
        fitted.append(FittedStep(step, correction))
        if config.keep_steps:
            after_step[f"{number}_{step.name}"] = _with_records(result, fitted)
    return FittedMap(_with_records(result, fitted), table, after_step, tuple(fitted))


_FIT: dict[type[Any], Callable[..., FittedWellStep]] = {
    CenterStep: fit_center,
    CenterScaleStep: fit_center,
    PcaStep: fit_pca,
    TvnStep: fit_tvn,
    PositionStep: fit_position,
}


def _fit_well_step(table: EmbeddingTable, step: Step) -> FittedWellStep:
    return _FIT[type(step)](table.embeddings, table.frame, step=step)


def _fit_aggregate(table: EmbeddingTable, config: MapConfig) -> Aggregate:
    step = next(step for step in config.steps if isinstance(step, AggregateStep))
    return fit_aggregate(
        table,
        step=step,
        strata=config.strata,
        include_positive_controls=config.include_positive_controls,
    )


def _fit_arms(result: PerturbationMap, genes: pd.DataFrame | None, *, step: Step) -> ArmCorrection:
    assert isinstance(step, ArmCorrectionStep), f"{step.name} is not a gene-level step"
    if genes is None:
        raise UserError(
            "arm_correction needs a gene table (gene, arm, expression), got none; give --genes, or leave "
            "the step out"
        )
    return fit_arm_correction(result, genes, step=step)


def _with_records(result: PerturbationMap, fitted: Sequence[FittedStep]) -> PerturbationMap:
    return replace(result, steps=tuple(step.record() for step in fitted))


def digest_array(values: Array) -> str:
    """SHA-256 of an array's type, shape and values."""
    digest = hashlib.sha256(f"{values.dtype.str}{values.shape}".encode())
    digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
