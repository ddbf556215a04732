"""Keys of rows as texts, and the one screen of tables from elsewhere that name none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from phenoscale.schema.keys import KEY_OF, PLATE_KEY

Labels = npt.NDArray[np.str_]


def with_screen(frame: pd.DataFrame) -> pd.DataFrame:
    """A table of wells as it comes from outside: one that names no screen is of one unnamed screen."""
    if "screen" in frame or not set(PLATE_KEY) & set(frame.columns):
        return frame
    return frame.assign(screen="")[["screen", *frame.columns]]


def key_labels(frame: pd.DataFrame, key: Sequence[str]) -> Labels:
    """The key of each row as one text that no other key has: `screen/experiment/plate`.

    The unnamed screen is left out; `/` and `%` inside a name are escaped.
    """
    columns = [_escaped(frame[name]) for name in key]
    if key[0] == "screen":
        columns[0] = np.where(columns[0] == "", "", np.char.add(columns[0], "/"))
        columns[:2] = [np.char.add(columns[0], columns[1])]
    labels = columns[0]
    for column in columns[1:]:
        labels = np.char.add(np.char.add(labels, "/"), column)
    return labels


def short_labels(frame: pd.DataFrame, column: str) -> Labels:
    """The names in a column of `KEY_OF`, with as much of what holds them as tells them apart here."""
    key = KEY_OF[column]
    whole = len(np.unique(key_labels(frame, key)))
    for start in range(len(key) - 1, 0, -1):
        labels = key_labels(frame, key[start:])
        if len(np.unique(labels)) == whole:
            return labels
    return key_labels(frame, key)


def _escaped(names: pd.Series[str]) -> Labels:
    texts = names.astype(str)
    return texts.str.replace("%", "%25").str.replace("/", "%2F").to_numpy(dtype=np.str_)
