"""Batch effect: how well plate, experiment, plate position and chromosome arm can be predicted from vectors.

Each target is read by cross-validated multinomial logistic regression; the score is balanced accuracy, 1 / K
by chance for K classes. It is asked of all wells, and of the negative controls by what was learned from the
other wells: a correction that was fitted on the controls sets their batch means to exactly zero, so that a
classifier trained on some of them would be worse than chance on the rest. What would give the answer away is
kept out of the training part of each fold:

- plate: folds of all wells keep a perturbation together; the negative controls are one fold.
- experiment: folds keep a plate together, where each experiment has two; else as for plates.
- quadrant, edge: one experiment is left out (one plate, if there is one experiment); of all wells a third of
  the perturbations is left out with it, so that a position is not read from the gene that stands there.
- arm (of the genes of a map): stratified folds of genes.

quadrant: which half of the used rows and of the used columns, 4 classes. edge: outermost used row or column
or not. Plates with fewer wells than folds are left out and counted. A row without a value says in its
setting, as `reason`, why the question cannot be asked. Intervals resample plates (wells) or
genes (arm). Shapes: N wells, D dimensions, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd

from phenoscale.benchmarks.wells.config import BatchEffectConfig
from phenoscale.mapping.batches import batch_labels, flags, negative_controls
from phenoscale.mapping.genes import arms_of
from phenoscale.mapping.steps.position import plate_places, used_extent
from phenoscale.schema.embeddings import EmbeddingTable
from phenoscale.schema.keys import KEY_OF
from phenoscale.schema.maps import PerturbationMap
from phenoscale.schema.rows import BALANCED_ACCURACY, BATCH_EFFECT, Row, canonical_setting
from phenoscale.stats.classification import (
    Fold,
    balanced_accuracy_interval,
    cross_validate,
    stratified_folds,
)
from phenoscale.stats.moments import Floats

Labels = npt.NDArray[np.str_]
Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.intp]
_GENE_GROUPS = 3
_batches = partial(
    batch_labels,
    needed_by="batch-effect, whose intervals resample plates,",
    way_out="add them: one name for all wells where there is one plate",
)


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
        reason: why nothing can be predicted, where there is no fold.
    """

    target: str
    samples: Floats
    labels: Labels
    folds: list[Fold]
    folds_name: str
    units: Labels
    reason: str = ""


def well_rows(table: EmbeddingTable, *, config: BatchEffectConfig) -> list[Row]:
    """Predictability of each target from each kind of wells; what cannot be asked has no value."""
    rows = []
    for wells in config.wells:
        chosen = _choose(table, wells, config=config)
        total = int(negative_controls(table.frame).sum()) if wells == "negative_controls" else len(table)
        for target in config.targets:
            question = _ask(chosen, target, wells=wells, config=config)
            rows.append(_answer(question, wells=wells, total=total, config=config))
    return rows


def arm_rows(
    perturbation_map: PerturbationMap, *, genes: Mapping[str, str], config: BatchEffectConfig
) -> list[Row]:
    """Predictability of the chromosome arm, which `genes` says, from the genes of a map: one row."""
    labels = arms_of(perturbation_map, dict(genes))
    kept = _frequent(labels, least=config.num_folds, most=config.max_classes, seed=config.seed)
    kept = kept[labels[kept] != ""]
    question = Question(
        target="arm",
        samples=perturbation_map.embeddings[kept],
        labels=labels[kept],
        folds=_stratified(labels[kept], None, config=config),
        folds_name="genes",
        units=perturbation_map.entities[kept],
        reason=f"no two arms have {config.num_folds} genes of the map",
    )
    return [_answer(question, wells="map", total=len(labels), config=config)]


def _choose(table: EmbeddingTable, wells: str, *, config: BatchEffectConfig) -> EmbeddingTable:
    """At most `max_wells` wells (of each kind, where controls are tested and the others trained on)."""
    usable = ~flags(table.frame, "is_positive_control")
    controls = negative_controls(table.frame)
    kinds = [usable & controls, usable & ~controls] if wells == "negative_controls" else [usable]
    generator = np.random.default_rng(config.seed)
    chosen = []
    for kind in kinds:
        rows = np.flatnonzero(kind)
        if len(rows) > config.max_wells:
            rows = generator.choice(rows, config.max_wells, replace=False)
        chosen.append(rows)
    return table.select(np.sort(np.concatenate(chosen)))


def _ask(table: EmbeddingTable, target: str, *, wells: str, config: BatchEffectConfig) -> Question:
    plates = _batches(table.frame, "plate")
    labels = _target_labels(table.frame, target, plates=plates)
    if target == "plate":
        kept = _frequent(labels, least=config.num_folds, most=config.max_classes, seed=config.seed)
        table, labels, plates = table.select(kept), labels[kept], plates[kept]
    is_apart = wells == "all"
    groups = _perturbation_groups(table.frame) if is_apart else None
    if target in ("quadrant", "edge"):
        folds, name = _position_folds(table.frame, plates, groups=groups, seed=config.seed)
    elif target == "experiment" and _has_two_plates_each(labels, plates):
        folds, name = _stratified(labels, plates, config=config), "plates"
    elif is_apart:
        folds, name = _stratified(labels, groups, config=config), "perturbations"
    else:
        everything = np.arange(len(labels), dtype=np.intp)
        folds, name = [(everything, everything)], "other wells"
    if not is_apart:
        folds = _test_controls(folds, negative_controls(table.frame), labels=labels)
    return Question(
        target=target,
        samples=table.embeddings,
        labels=labels,
        folds=folds,
        folds_name=name,
        units=plates,
        reason=_reason(table.frame, labels, target=target, wells=wells, config=config),
    )


def _reason(
    frame: pd.DataFrame, labels: Labels, *, target: str, wells: str, config: BatchEffectConfig
) -> str:
    """Why these wells may have no fold."""
    large = f" with {config.num_folds} wells" if target == "plate" else ""
    classes = np.unique(labels).tolist()
    if not classes:
        return f"no {target}{large}"
    is_control = negative_controls(frame)
    if wells == "negative_controls" and not is_control.any():
        return "no well is a negative control" + (f" on the plates{large}" if large else "")
    if len(classes) < 2:
        only = "/".join(frame[list(KEY_OF[target][1:])].iloc[0]) if target in KEY_OF else classes[0]
        return f"{only} is the only {target}{large}, so that there is nothing to tell apart"
    if wells == "negative_controls" and len(np.intersect1d(labels[is_control], labels[~is_control])) < 2:
        return f"fewer than two classes of {target} have both negative controls and other wells"
    if target in ("quadrant", "edge") and len(np.unique(batch_labels(frame, "plate"))) < 2:
        return "one plate, so that no other is learned from"
    return f"too few wells or perturbations for {config.num_folds} folds"


def _test_controls(folds: list[Fold], controls_N: Mask, *, labels: Labels) -> list[Fold]:
    """Train on the wells that are no controls, test on the controls; classes must have both."""
    both = np.intersect1d(labels[controls_N], labels[~controls_N])
    usable = np.isin(labels, both) if len(both) > 1 else np.zeros(len(labels), np.bool_)
    kept = [
        (train[(usable & ~controls_N)[train]], test[(usable & controls_N)[test]]) for train, test in folds
    ]
    return [(train, test) for train, test in kept if len(train) and len(test)]


def _answer(question: Question, *, wells: str, total: int, config: BatchEffectConfig) -> Row:
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
        **({} if num_classes else {"reason": question.reason or "no fold has two classes to learn from"}),
        wells=wells,
    )
    return Row(
        benchmark=BATCH_EFFECT,
        source=question.target,
        metric=BALANCED_ACCURACY,
        setting=setting,
        **estimate.as_fields,
        n=len(predictions.truth),
        excluded=total - len(predictions.truth),
        seed=config.seed,
    )


def _target_labels(frame: pd.DataFrame, target: str, *, plates: Labels) -> Labels:
    if target == "plate":
        return plates
    if target == "experiment":
        return _batches(frame, "experiment")
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
    experiments = _batches(frame, "experiment")
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


def _has_two_plates_each(labels: Labels, plates: Labels) -> bool:
    if not len(labels):
        return False
    pairs = np.unique(np.stack([labels, plates], axis=1), axis=0)
    return bool(np.unique(pairs[:, 0], return_counts=True)[1].min() >= 2)


def _stratified(labels: Labels, groups: Labels | None, *, config: BatchEffectConfig) -> list[Fold]:
    """Stratified folds, or none where there is nothing to tell apart."""
    names, counts = np.unique(labels, return_counts=True)
    if len(names) < 2 or counts.max() < config.num_folds:
        return []
    num_folds = config.num_folds if groups is None else min(config.num_folds, len(np.unique(groups)))
    return stratified_folds(labels, groups_N=groups, num_folds=num_folds, seed=config.seed)


def _frequent(labels: Labels, *, least: int, most: int, seed: int) -> Positions:
    """Positions of the rows whose class has at least `least` rows; at most `most` classes, drawn."""
    names, counts = np.unique(labels, return_counts=True)
    usable = names[counts >= least]
    if len(usable) > most:
        usable = np.random.default_rng(seed).choice(usable, most, replace=False)
    return np.flatnonzero(np.isin(labels, usable))
