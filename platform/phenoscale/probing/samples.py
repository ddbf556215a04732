"""The samples of a task: which fields, their labels, groups, folds and confounds, and what was left out.

Shapes: N samples, K classes, F folds, V values of the confounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from phenoscale.errors import UserError
from phenoscale.inference.tables import well_codes
from phenoscale.logs import get_logger, key_values
from phenoscale.probing.config import ProbeTask
from phenoscale.schema.keys import PLATE_KEY, WELL_KEY
from phenoscale.schema.labels import key_labels, short_labels
from phenoscale.stats.classification import stratified_folds

Indices = npt.NDArray[np.intp]
logger = get_logger(__name__)


@dataclass(frozen=True, eq=False)
class Samples:
    """What a task asks of embeddings.

    Attributes:
        rows: rows of the fields behind the samples, in any order.
        sample_of_row: the sample to which each of these rows belongs.
        labels: class code of each sample, [N].
        classes: names of the classes, sorted, [K].
        groups: group of each sample, [N].
        folds: fold that holds each sample out, [N].
        confounds: one-hot columns of the confounds, [N, V]; none without confounds.
        centers: samples with one code share the mean that is subtracted from them, [N]; empty: none is.
        excluded: why samples were left out, with their number.
        excluded_classes: classes that were left out.
        num_unseen: samples whose class is absent from the rows that their fold trains on.
    """

    rows: Indices
    sample_of_row: Indices
    labels: Indices
    classes: tuple[str, ...]
    groups: npt.NDArray[np.str_]
    folds: Indices
    confounds: npt.NDArray[np.float64]
    centers: Indices
    excluded: Mapping[str, int]
    excluded_classes: tuple[str, ...]
    num_unseen: int

    @property
    def num_excluded(self) -> int:
        """Samples left out, for whatever reason."""
        return sum(self.excluded.values())

    def average(
        self, embeddings_RnD: npt.NDArray[np.float32], *, positions: Indices
    ) -> npt.NDArray[np.float64]:
        """Means over the fields of each sample, [R, N, D], centered if the task says so.

        Args:
            embeddings_RnD: embeddings of fields, one matrix per block.
            positions: where each of `rows` stands among these fields.
        """
        counts = np.bincount(self.sample_of_row, minlength=len(self.labels))
        order = np.argsort(self.sample_of_row, kind="stable")
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        sums: npt.NDArray[np.float64] = np.add.reduceat(
            embeddings_RnD[:, positions[order]], starts, axis=1, dtype=np.float64
        )
        means_RND = sums / counts[:, None]
        for code in np.unique(self.centers):
            of_one = np.flatnonzero(self.centers == code)
            means_RND[:, of_one] -= means_RND[:, of_one].mean(axis=1, keepdims=True)
        return means_RND


def draw_samples(frame: pd.DataFrame, *, task: ProbeTask, seed: int) -> Samples:
    """Select, label, group and split the samples of a task.

    Args:
        frame: the manifest's fields.
        task: what is asked.
        seed: seed of the folds.

    Raises:
        UserError: a column is absent, nothing is selected or labelled, or too few classes or groups are left.
    """
    rows = _selected(frame, task=task)
    chosen = frame.iloc[rows]
    sample_of_row, first = _sample_codes(chosen, task=task)
    units = chosen.iloc[first]
    labels = _values(units, task.label, task=task, role="label")
    groups = _values(units, task.group, task=task, role="group")
    _check_constant(chosen, labels, sample_of_row=sample_of_row, task=task)
    kept, excluded, lost = _usable(labels, groups, task=task)
    renumbered = np.full(len(units), -1, dtype=np.intp)
    renumbered[kept] = np.arange(len(kept))
    of_row = renumbered[sample_of_row]
    classes, codes = np.unique(labels[kept], return_inverse=True)
    folds = _assign_folds(codes, groups[kept], task=task, seed=seed)
    return Samples(
        rows=rows[of_row >= 0],
        sample_of_row=of_row[of_row >= 0],
        labels=codes,
        classes=tuple(str(name) for name in classes),
        groups=groups[kept],
        folds=folds,
        confounds=_one_hot(units.iloc[kept], task=task),
        centers=_center_codes(units.iloc[kept], task=task),
        excluded=excluded,
        excluded_classes=lost,
        num_unseen=count_unseen(codes, folds=folds),
    )


def _selected(frame: pd.DataFrame, *, task: ProbeTask) -> Indices:
    if not task.where:
        return np.arange(len(frame))
    numbered = frame.reset_index(drop=True)
    try:
        found = numbered.query(task.where, engine="python")
    except Exception as error:
        raise UserError(
            f"task {task.name}: where is {task.where!r}, which cannot be evaluated ({error}); it is a pandas "
            f"query over the columns {_columns(frame)}"
        ) from error
    if not len(found):
        raise UserError(
            f"task {task.name}: where {task.where!r} selects none of {len(frame)} fields; widen it"
        )
    return found.index.to_numpy(np.intp)


def _columns(frame: pd.DataFrame) -> str:
    return ", ".join(sorted(map(str, frame.columns)))


def _sample_codes(frame: pd.DataFrame, *, task: ProbeTask) -> tuple[Indices, Indices]:
    if task.level == "well":
        return well_codes(frame)
    everyone = np.arange(len(frame))
    return everyone, everyone


def _values(units: pd.DataFrame, column: str, *, task: ProbeTask, role: str) -> npt.NDArray[np.str_]:
    """A column as text; "" where it is missing. Plates and wells are named together with what holds them."""
    if column not in units.columns:
        raise UserError(
            f"task {task.name}: {role} {column!r} is no column of the manifest's fields; choose one of "
            f"{_columns(units)}"
        )
    if column in PLATE_KEY[1:]:
        return short_labels(units, column)
    if column == "well" and role == "group":
        return key_labels(units, WELL_KEY)
    return units[column].map(_text).to_numpy(dtype=str)


def _text(value: object) -> str:
    return "" if value is None or value is pd.NA or value != value else str(value)


def _check_constant(
    chosen: pd.DataFrame, labels: npt.NDArray[np.str_], *, sample_of_row: Indices, task: ProbeTask
) -> None:
    if task.level == "field":
        return
    of_row = _values(chosen, task.label, task=task, role="label")
    mixed = np.flatnonzero(of_row != labels[sample_of_row])
    if len(mixed):
        well = key_labels(chosen.iloc[mixed[:1]], WELL_KEY)[0]
        found = [str(labels[sample_of_row[mixed[0]]]), str(of_row[mixed[0]])]
        raise UserError(
            f"task {task.name}: well {well} holds the {task.label} "
            f"{found[0]!r} and {found[1]!r}, but a well is one sample "
            "with one label; probe with `level: field`"
        )


def _usable(
    labels: npt.NDArray[np.str_], groups: npt.NDArray[np.str_], *, task: ProbeTask
) -> tuple[Indices, dict[str, int], tuple[str, ...]]:
    """Samples that can be trained on and tested, the numbers of the others by reason, the lost classes."""
    is_labelled = labels != ""
    if not is_labelled.any():
        raise UserError(
            f"task {task.name}: label {task.label!r} is empty in all {len(labels)} samples; fill the column "
            "or choose another"
        )
    names, codes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    pairs = np.unique(np.stack([codes, np.unique(groups, return_inverse=True)[1]]), axis=1)
    num_groups = np.bincount(pairs[0], minlength=len(names))
    is_small = is_labelled & (sizes < task.min_class_size)[codes]
    is_single = is_labelled & ~is_small & (num_groups < 2)[codes]
    kept = np.flatnonzero(is_labelled & ~is_small & ~is_single)
    lost = tuple(str(name) for name in np.unique(labels[is_small | is_single]))
    excluded = {
        "no label": int((~is_labelled).sum()),
        f"class has fewer than {task.min_class_size} samples": int(is_small.sum()),
        "class occurs in one group only": int(is_single.sum()),
    }
    if len(np.unique(codes[kept])) < 2:
        raise UserError(
            f"task {task.name}: {len(np.unique(codes[kept]))} classes of {task.label!r} occur in two "
            f"groups of {task.group!r} or more, but a probe needs two such classes ({np.sum(names != '')} "
            f"classes in {len(np.unique(groups))} groups); group by something finer, or choose another label"
        )
    return kept, {reason: count for reason, count in excluded.items() if count}, lost


def _assign_folds(codes: Indices, groups: npt.NDArray[np.str_], *, task: ProbeTask, seed: int) -> Indices:
    names, of_sample = np.unique(groups, return_inverse=True)
    if task.split == "leave_one_group_out":
        return of_sample
    num_folds = min(task.num_folds, len(names))
    if num_folds < task.num_folds:
        line = key_values(task=task.name, num_folds=num_folds, wanted=task.num_folds, groups=len(names))
        logger.info("%s", line)
    folds = np.empty(len(codes), dtype=np.intp)
    splits = stratified_folds(codes, groups_N=groups, num_folds=num_folds, seed=seed)
    for number, (_, held_out) in enumerate(splits):
        folds[held_out] = number
    # A fold may stay empty where groups are few and uneven.
    return np.unique(folds, return_inverse=True)[1]


def _one_hot(units: pd.DataFrame, *, task: ProbeTask) -> npt.NDArray[np.float64]:
    columns = [_values(units, name, task=task, role="confound") for name in task.confounds]
    return np.concatenate(
        [np.empty((len(units), 0)), *(values[:, None] == np.unique(values) for values in columns)], axis=1
    )


def _center_codes(units: pd.DataFrame, *, task: ProbeTask) -> Indices:
    if not task.center_by:
        return np.empty(0, dtype=np.intp)
    values = _values(units, task.center_by, task=task, role="center_by")
    codes: Indices = np.unique(values, return_inverse=True)[1]
    return codes


def count_unseen(codes: Indices, *, folds: Indices) -> int:
    """Samples of classes that occur in their own fold alone."""
    table = np.zeros((codes.max() + 1, folds.max() + 1), dtype=np.int64)
    np.add.at(table, (codes, folds), 1)
    elsewhere = table.sum(axis=1, keepdims=True) - table
    return int(table[elsewhere == 0].sum())
