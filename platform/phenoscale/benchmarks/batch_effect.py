"""Batch effect: how well plate, experiment, plate position and chromosome arm can be predicted from vectors.

Each target is read by cross-validated multinomial logistic regression; the score is balanced accuracy, 1 / K
by chance for K classes. What would give the answer away is kept out of the training part of each fold:

- plate: stratified folds of the negative controls; folds of all wells keep a perturbation together.
- experiment: folds keep a plate together, where each experiment has two; else as for plates of controls.
- quadrant, edge: one experiment is left out (one plate, if there is one experiment); of all wells a third of
  the perturbations is left out with it, so that a position is not read from the gene that stands there.
- arm (of the genes of a map): stratified folds of genes.

quadrant: which half of the used rows and of the used columns, 4 classes. edge: outermost used row or column
or not. Plates with fewer wells than folds are left out and counted. Intervals resample plates (wells) or
genes (arm). Shapes: N wells, D dimensions, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from phenoscale.benchmarks.config import BatchEffectConfig
from phenoscale.mapping.arms import arms_of
from phenoscale.mapping.batches import batch_labels, flags, negative_controls
from phenoscale.mapping.position import plate_places, used_extent
from phenoscale.schema.embeddings import EmbeddingTable
from phenoscale.schema.maps import PerturbationMap
from phenoscale.schema.rows import Row, canonical_setting
from phenoscale.stats.classification import (
    Fold,
    balanced_accuracy_interval,
    cross_validate,
    stratified_folds,
)
from phenoscale.stats.moments import Floats

Labels = npt.NDArray[np.str_]
Positions = npt.NDArray[np.intp]
_GENE_GROUPS = 3


@dataclass(frozen=True)
class Question:
    """What is to be predicted from which vectors.

    Attributes:
        target: what is predicted.
        samples: [N, D].
        labels: [N] classes.
        folds: training and test positions.
        folds_name: what the folds keep apart.
        units: [N] what the interval resamples.
        num_excluded: rows that could not be used.
    """

    target: str
    samples: Floats
    labels: Labels
    folds: list[Fold]
    folds_name: str
    units: Labels
    num_excluded: int


def well_rows(
    table: EmbeddingTable, *, config: BatchEffectConfig, settings: Mapping[str, Any] | None = None
) -> list[Row]:
    """Predictability of each target from each kind of wells; what cannot be asked has no value."""
    rows = []
    for wells in config.wells:
        chosen = _choose(table, wells, config=config)
        for target in config.targets:
            question = _ask(chosen, target, wells=wells, config=config)
            excluded = len(table) - len(chosen) + question.num_excluded
            answered = replace(question, num_excluded=excluded)
            rows.append(_answer(answered, config=config, settings={"wells": wells, **(settings or {})}))
    return rows


def arm_row(
    perturbation_map: PerturbationMap,
    arms: Mapping[str, str],
    *,
    config: BatchEffectConfig,
    settings: Mapping[str, Any] | None = None,
) -> Row:
    """Predictability of the chromosome arm from the genes of a map."""
    labels = arms_of(perturbation_map, dict(arms))
    kept = _frequent(labels, least=config.num_folds, most=config.max_classes, seed=config.seed)
    kept = kept[labels[kept] != ""]
    question = Question(
        target="arm",
        samples=perturbation_map.embeddings[kept],
        labels=labels[kept],
        folds=_stratified(labels[kept], None, config=config),
        folds_name="genes",
        units=perturbation_map.entities[kept],
        num_excluded=len(labels) - len(kept),
    )
    return _answer(question, config=config, settings={"wells": "map", **(settings or {})})


def _choose(table: EmbeddingTable, wells: str, *, config: BatchEffectConfig) -> EmbeddingTable:
    mask = negative_controls(table.frame)
    if wells == "all":
        mask = ~flags(table.frame, "is_positive_control")
    rows = np.flatnonzero(mask)
    if len(rows) > config.max_wells:
        generator = np.random.default_rng(config.seed)
        rows = np.sort(generator.choice(rows, config.max_wells, replace=False))
    return table.select(rows)


def _ask(table: EmbeddingTable, target: str, *, wells: str, config: BatchEffectConfig) -> Question:
    plates = batch_labels(table.frame, "plate")
    labels = _target_labels(table.frame, target, plates=plates)
    kept = np.arange(len(table), dtype=np.intp)
    if target == "plate":
        kept = _frequent(labels, least=config.num_folds, most=config.max_classes, seed=config.seed)
    num_excluded = len(table) - len(kept)
    table, labels, plates = table.select(kept), labels[kept], plates[kept]
    groups = _perturbation_groups(table.frame) if wells == "all" else None
    if target in ("quadrant", "edge"):
        folds, name = _position_folds(table.frame, plates, groups=groups, seed=config.seed)
    elif target == "experiment":
        folds, name = _experiment_folds(labels, plates, config=config)
    else:
        folds, name = (
            _stratified(labels, groups, config=config),
            "wells" if groups is None else "perturbations",
        )
    return Question(
        target=target,
        samples=table.embeddings,
        labels=labels,
        folds=folds,
        folds_name=name,
        units=plates,
        num_excluded=num_excluded,
    )


def _answer(question: Question, *, config: BatchEffectConfig, settings: Mapping[str, Any]) -> Row:
    predictions = cross_validate(
        question.samples,
        question.labels,
        folds=question.folds,
        inverse_regularization=config.inverse_regularization,
    )
    estimate = balanced_accuracy_interval(
        predictions,
        groups_N=question.units[predictions.rows],
        num_resamples=config.num_resamples,
        seed=config.seed,
    )
    num_classes = len(np.unique(predictions.truth))
    setting = canonical_setting(
        chance=round(1 / num_classes, 6) if num_classes else None,
        num_classes=num_classes,
        folds=question.folds_name,
        inverse_regularization=config.inverse_regularization,
        **settings,
    )
    return Row(
        benchmark="batch_effect",
        source=question.target,
        metric="balanced_accuracy",
        setting=setting,
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        n=len(predictions.truth),
        excluded=question.num_excluded + len(question.labels) - len(predictions.truth),
        seed=config.seed,
    )


def _target_labels(frame: pd.DataFrame, target: str, *, plates: Labels) -> Labels:
    if target == "plate":
        return plates
    if target == "experiment":
        return batch_labels(frame, "experiment")
    if not len(frame):
        return np.empty(0, np.str_)
    places, extent = plate_places(frame), used_extent(frame)
    row, column = places[:, 0], places[:, 1]
    if target == "edge":
        is_edge = (row == extent.first_row) | (row == extent.last_row)
        is_edge |= (column == extent.first_column) | (column == extent.last_column)
        return np.where(is_edge, "edge", "inside")
    low = np.where(2 * row > extent.first_row + extent.last_row, "bottom", "top")
    right = np.where(2 * column > extent.first_column + extent.last_column, "right", "left")
    return np.char.add(np.char.add(low, " "), right)


def _perturbation_groups(frame: pd.DataFrame) -> Labels:
    """One group per perturbation; each negative control stands alone, for there is no gene to read."""
    names = frame["perturbation"].fillna("").astype(str).to_numpy(dtype=str)
    alone = np.char.add("well ", np.arange(len(frame)).astype(str))
    return np.where(negative_controls(frame) | (names == ""), alone, names)


def _position_folds(
    frame: pd.DataFrame, plates: Labels, *, groups: Labels | None, seed: int
) -> tuple[list[Fold], str]:
    experiments = batch_labels(frame, "experiment")
    batches, name = (experiments, "experiment") if len(np.unique(experiments)) > 1 else (plates, "plate")
    members = _group_parts(groups, len(frame), seed=seed)
    folds = []
    for batch in np.unique(batches):
        for part in np.unique(members):
            test = np.flatnonzero((batches == batch) & (members == part))
            train = np.flatnonzero((batches != batch) & ((members != part) | (groups is None)))
            if len(test) and len(train):
                folds.append((train, test))
    return folds, f"leave one {name} out" + ("" if groups is None else ", perturbations apart")


def _group_parts(groups: Labels | None, num_rows: int, *, seed: int) -> Positions:
    if groups is None:
        return np.zeros(num_rows, np.intp)
    names, inverse = np.unique(groups, return_inverse=True)
    parts = np.random.default_rng(seed).permutation(np.resize(np.arange(_GENE_GROUPS), len(names)))
    return parts[inverse].astype(np.intp)


def _experiment_folds(labels: Labels, plates: Labels, *, config: BatchEffectConfig) -> tuple[list[Fold], str]:
    pairs = (
        np.unique(np.stack([labels, plates], axis=1), axis=0) if len(labels) else np.empty((0, 2), np.str_)
    )
    _, num_plates = np.unique(pairs[:, 0], return_counts=True)
    if len(num_plates) and num_plates.min() >= 2:
        fold_count = int(min(config.num_folds, num_plates.max()))
        return stratified_folds(labels, groups_N=plates, num_folds=fold_count, seed=config.seed), "plates"
    return _stratified(labels, None, config=config), "wells"


def _stratified(labels: Labels, groups: Labels | None, *, config: BatchEffectConfig) -> list[Fold]:
    """Stratified folds, or none where there is nothing to tell apart."""
    names, counts = np.unique(labels, return_counts=True)
    if len(names) < 2 or counts.max() < config.num_folds:
        return []
    if groups is not None and len(np.unique(groups)) < config.num_folds:
        return []
    return stratified_folds(labels, groups_N=groups, num_folds=config.num_folds, seed=config.seed)


def _frequent(labels: Labels, *, least: int, most: int, seed: int) -> Positions:
    """Positions of the rows whose class has at least `least` rows; at most `most` classes, drawn."""
    names, counts = np.unique(labels, return_counts=True)
    usable = names[counts >= least]
    if len(usable) > most:
        usable = np.random.default_rng(seed).choice(usable, most, replace=False)
    return np.flatnonzero(np.isin(labels, usable))
