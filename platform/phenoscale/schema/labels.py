"""Keys of rows as texts, and the one screen of tables from elsewhere that name none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
    codes = frame.groupby(list(key), sort=False, dropna=False).ngroup().to_numpy()
    first = np.unique(codes, return_index=True)[1]
    names = frame[list(key)].iloc[first].itertuples(index=False, name=None)
    can_be_unnamed = key[0] == "screen"
    texts = [_joined(values[1:] if can_be_unnamed and values[0] == "" else values) for values in names]
    labels: Labels = np.array(texts, dtype=np.str_)[codes]
    return labels


def short_labels(frame: pd.DataFrame, column: str) -> Labels:
    """The names in a column of `KEY_OF`, with as much of what holds them as tells them apart here."""
    key = KEY_OF[column]
    num_keys = len(frame[list(key)].drop_duplicates())
    starts = range(len(key) - 1, -1, -1)
    shortest = next(n for n in starts if len(frame[list(key[n:])].drop_duplicates()) == num_keys)
    return key_labels(frame, key[shortest:])


def _joined(names: Iterable[object]) -> str:
    return "/".join(str(name).replace("%", "%25").replace("/", "%2F") for name in names)
