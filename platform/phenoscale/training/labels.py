"""The classes of weakly supervised learning: what the fields of a manifest are labelled with, as numbers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from phenoscale.errors import UserError
from phenoscale.loading.fields import ManifestFields, select_rows

NEGATIVE_CONTROL = "negative control"


class LabeledFields(NamedTuple):
    """Fields of which every one to train on has a class.

    Attributes:
        fields: those that were given, without training fields that have no label.
        labels: class of each row, an index into `classes`; -1 for a held-out row without a class of training.
            None if nothing is asked of labels: then the fields are as given.
        classes: labels of the training fields, in alphabetical order.
    """

    fields: ManifestFields
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...]


def label_fields(fields: ManifestFields, *, column: str) -> LabeledFields:
    """Number the values of a column among the training fields; all negative controls are one class.

    Raises:
        UserError: there is no such column.
    """
    names = _names(fields.frame, column=column)
    is_training = np.zeros(len(fields), dtype=bool)
    is_training[fields.rows("train")] = True
    kept = np.flatnonzero(~is_training | (names != ""))
    names, is_training = names[kept], is_training[kept]
    classes = np.unique(names[is_training])
    places = np.searchsorted(classes, names).clip(max=max(len(classes) - 1, 0))
    is_known = classes[places] == names if len(classes) else np.zeros(len(names), dtype=bool)
    labels = np.where(is_known, places, -1).astype(np.int64)
    return LabeledFields(select_rows(fields, kept), labels, tuple(classes.tolist()))


def is_negative_control(frame: pd.DataFrame) -> NDArray[np.bool_]:
    """Which rows are negative controls; where it is not known they are not."""
    return frame["is_negative_control"].fillna(False).to_numpy(bool)


def _names(frame: pd.DataFrame, *, column: str) -> NDArray[np.str_]:
    """The label of each row, empty where there is none."""
    if column not in frame.columns:
        raise UserError(
            f"the fields have no column {column!r} to take labels from, they have "
            f"{', '.join(map(str, frame.columns))}; set label to one of them"
        )
    given = frame[column].astype("string").fillna("").to_numpy(dtype=str)
    return np.where(is_negative_control(frame), NEGATIVE_CONTROL, given)
