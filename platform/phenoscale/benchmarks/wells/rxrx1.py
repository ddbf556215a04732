"""RxRx1 classification: siRNAs learned from some experiments and read in others, before and after correction.

Sypetkowski et al. (2023), arXiv 2301.05768, and WILDS (Koh et al. 2021), arXiv 2012.07421. The linear probe
is class-balanced multinomial logistic regression on standardized vectors of wells (of sites where the table
tells them apart). Center-scale works on each experiment or plate by itself and needs no label:
`statistics: all` is as fair to test experiments as to training experiments.
Shapes: N wells, D dimensions, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from phenoscale.benchmarks.wells.config import Correction, Rxrx1Config
from phenoscale.benchmarks.wells.rxrx1_wells import (
    ID_TEST,
    KEY,
    LABEL,
    NEGATIVE_CONTROL,
    TEST,
    TRAIN,
    VALIDATION,
    cell_type_of,
    holdout_of_training,
    parse_wells,
    parts_of,
    read_rxrx1_wells,
)
from phenoscale.errors import UserError
from phenoscale.mapping.steps.center import CenterScaleStep, fit_center
from phenoscale.schema.embeddings import EmbeddingTable
from phenoscale.schema.keys import PLATE_KEY
from phenoscale.schema.labels import key_labels
from phenoscale.schema.rows import BALANCED_ACCURACY, Row, canonical_setting
from phenoscale.stats.classification import Predictions, balanced_accuracy, balanced_accuracy_interval
from phenoscale.stats.intervals import Estimate, percentile_interval, resample_counts
from phenoscale.stats.softmax import fit_softmax

Labels = npt.NDArray[np.str_]
Codes = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

ALL_CELLS = "all"


@dataclass(frozen=True)
class Rxrx1Task:
    """Wells with a known class, and the part of the split that each belongs to.

    Attributes:
        table: [N] wells (or sites).
        labels: [N] siRNAs.
        parts: [N] train, id_test, validation or test.
        num_excluded: wells without a label, or of a class that is not asked for.
    """

    table: EmbeddingTable
    labels: Codes
    parts: Labels
    num_excluded: int


def rxrx1_rows(table: EmbeddingTable, *, config: Rxrx1Config) -> list[Row]:
    """Balanced accuracy and accuracy in every evaluated part and cell type, for each correction.

    Raises:
        UserError: unknown experiments or labels, no training or test well, or no control to correct by.
    """
    rows: list[Row] = []
    for correction in config.corrections:
        task = make_task(table, config=config, correction=correction)
        predicted, strength = _predict(task, config=config)
        setting = {
            "correction": correction,
            "split": config.split,
            "num_classes": config.num_classes,
            "inverse_regularization": strength,
            "level": table.level,
            "interval": "plates",
            **(
                {"batch_key": config.batch_key, "statistics": config.statistics}
                if correction != "none"
                else {}
            ),
        }
        parts = (TEST,) if config.split == "official" else (ID_TEST, VALIDATION, TEST)
        for part in parts:
            rows += _part_rows(task, predicted, part=part, setting=setting, config=config)
    return rows


def make_task(table: EmbeddingTable, *, config: Rxrx1Config, correction: Correction) -> Rxrx1Task:
    """Correct all wells, then keep those of the asked classes.

    Raises:
        UserError: unknown experiments or labels, no control to correct by, no training or no test well.
    """
    wells = parse_wells(table.frame, source="the embeddings")
    labels = wells[LABEL].to_numpy()
    if config.metadata:
        known = read_rxrx1_wells(config.metadata).set_index(list(KEY))[LABEL]
        labels = wells[list(KEY)].join(known, on=list(KEY))[LABEL].fillna(-1).to_numpy(dtype=np.int64)
    frame = table.frame.assign(
        experiment=wells["experiment"], plate=wells["plate"], is_negative_control=labels == NEGATIVE_CONTROL
    )
    vectors = table.embeddings
    if correction == "center_scale":
        scale = "pooled" if config.statistics == "negative_controls" else "batch"
        step = CenterScaleStep(
            batch_key=config.batch_key, statistics=config.statistics, scale=scale, min_controls=1
        )
        vectors = fit_center(vectors, frame, step=step).transform(vectors, frame)
    usable = (labels >= 0) & (labels < config.num_classes)
    sites = frame["site"].to_numpy(dtype=np.int64) if "site" in frame else None
    parts = parts_of(frame["experiment"].to_numpy(dtype=str), split=config.split, sites_N=sites)
    for part in (TRAIN, TEST):
        if not (usable & (parts == part)).any():
            raise UserError(
                f"no well of the {part} experiments has one of the {config.num_classes} classes "
                f"({int(usable.sum())} of {len(usable)} wells have one); give --metadata with sirna_id for "
                "all experiments, such as RxRx1's metadata.csv"
            )
    corrected = replace(table, frame=frame, embeddings=vectors).select(usable)
    return Rxrx1Task(corrected, labels[usable], parts[usable], int((~usable).sum()))


def _predict(task: Rxrx1Task, *, config: Rxrx1Config) -> tuple[Codes, float]:
    """The predicted siRNA of every well, by what the training wells say, and the strength that was used."""
    is_train = task.parts == TRAIN
    experiments = task.table.frame["experiment"].to_numpy(dtype=str)
    strengths = config.inverse_regularization
    if len(strengths) == 1:
        return _fit(task, is_train_N=is_train, strength=strengths[0]), strengths[0]
    if config.split == "wilds" and (task.parts == VALIDATION).any():
        fitted, judged = is_train, task.parts == VALIDATION
    else:
        judged = is_train & holdout_of_training(experiments)
        fitted = is_train & ~judged
    if not fitted.any() or not judged.any():
        raise UserError(
            f"{len(strengths)} strengths of regularization are compared on validation experiments, but the "
            f"table has {int(fitted.sum())} wells to train on and {int(judged.sum())} to validate on; give "
            "one strength, or more experiments"
        )
    scores = []
    for strength in strengths:
        predicted = _fit(task, is_train_N=fitted, strength=strength)
        scores.append(balanced_accuracy(task.labels[judged], predicted[judged]))
    best = strengths[int(np.argmax(scores))]
    return _fit(task, is_train_N=is_train, strength=best), best


def _fit(task: Rxrx1Task, *, is_train_N: Mask, strength: float) -> Codes:
    classes, codes = np.unique(task.labels, return_inverse=True)
    fit = fit_softmax(
        task.table.embeddings,
        labels_N=codes.astype(np.intp),
        is_train_FN=is_train_N[None],
        inverse_regularization=[strength],
        num_classes=len(classes),
    )
    return np.asarray(classes[fit.logits(task.table.embeddings, fold=0, strength=0).argmax(axis=1)])


def _part_rows(
    task: Rxrx1Task, predicted_N: Codes, *, part: str, setting: Mapping[str, Any], config: Rxrx1Config
) -> list[Row]:
    """Both accuracies in one part, of all cell types and of each."""
    frame = task.table.frame
    cells = cell_type_of(frame["experiment"].to_numpy(dtype=str))
    plates = key_labels(frame, PLATE_KEY)
    trained = np.unique(task.labels[task.parts == TRAIN])
    inside = task.parts == part
    known = inside & np.isin(task.labels, trained)
    rows: list[Row] = []
    for cell in (ALL_CELLS, *np.unique(cells[inside]).tolist()):
        chosen = np.flatnonzero(known & ((cells == cell) | (cell == ALL_CELLS)))
        unseen = int((inside & ~known & ((cells == cell) | (cell == ALL_CELLS))).sum())
        classes = np.unique(task.labels[chosen])
        base = canonical_setting(
            part=part,
            num_trained_classes=len(trained),
            num_tested_classes=len(classes),
            chance=round(1 / len(trained), 6),
            **setting,
        )
        shared: dict[str, Any] = {
            "setting": base,
            "n": len(chosen),
            "excluded": unseen + (task.num_excluded if cell == ALL_CELLS else 0),
            "seed": config.seed,
        }
        predictions = Predictions(task.labels[chosen], predicted_N[chosen], chosen)
        balanced = balanced_accuracy_interval(
            predictions, groups_N=plates[chosen], num_resamples=config.num_resamples, seed=config.seed
        )
        plain = _accuracy(predictions, plates[chosen], config=config)
        for metric, estimate in ((BALANCED_ACCURACY, balanced), ("accuracy", plain)):
            rows.append(
                Row(
                    "rxrx1",
                    cell,
                    metric,
                    **estimate.as_fields,
                    **shared,
                )
            )
    return rows


def _accuracy(predictions: Predictions, groups_N: Labels, *, config: Rxrx1Config) -> Estimate:
    """Share of right predictions with an interval from resampling groups."""
    if not len(predictions.truth):
        return Estimate(np.nan, np.nan, np.nan)
    names, group = np.unique(groups_N, return_inverse=True)
    is_right = predictions.truth == predictions.predicted
    right, total = np.bincount(group, is_right), np.bincount(group)
    generator = np.random.default_rng(config.seed)
    counts = resample_counts(len(names), num_resamples=config.num_resamples, generator=generator)
    return percentile_interval(float(is_right.mean()), resampled_B=(counts @ right) / (counts @ total))
