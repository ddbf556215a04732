"""What a step knows of wells besides their vectors: batches, negative controls, groups of rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from phenoscale.errors import UserError
from phenoscale.schema.keys import KEY_OF
from phenoscale.schema.labels import key_labels

Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.intp]
Labels = npt.NDArray[np.str_]

EVERYTHING = "all wells"
_FLAGS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False, "": False}


def batch_labels(
    frame: pd.DataFrame, batch_key: str, *, needed_by: str = "", way_out: str = "set batch_key: none"
) -> Labels:
    """The batch of each well: its experiment as `screen/experiment`, its plate, or one batch for all.

    Args:
        frame: one row per well.
        batch_key: experiment, plate or none.
        needed_by: what asks for it, for messages; by default the setting batch_key.
        way_out: what to do without the columns, besides embedding a table that has them.

    Raises:
        UserError: a needed column is missing.
    """
    if batch_key == "none":
        return np.full(len(frame), EVERYTHING, dtype=np.str_)
    key = KEY_OF[batch_key]
    missing = [name for name in key if name not in frame]
    if missing:
        raise UserError(
            f"the embeddings lack the columns {missing}, but {needed_by or f'batch_key {batch_key!r}'} needs "
            f"{list(key)}; embed a table that has them, or {way_out}"
        )
    return key_labels(frame, key)


def flags(frame: pd.DataFrame, column: str) -> Mask:
    """A column of true and false (also as text, or as 1 and 0), False where it is missing.

    Raises:
        UserError: another value.
    """
    if column not in frame:
        return np.zeros(len(frame), np.bool_)
    given = frame[column]
    if given.dtype == np.bool_:
        return given.to_numpy()
    texts = given.astype(object).where(given.notna(), "").astype(str).str.strip().str.lower()
    wrong = np.flatnonzero(~texts.isin(_FLAGS).to_numpy())
    if len(wrong):
        found = sorted(set(given.iloc[wrong].astype(str)))[:5]
        raise UserError(
            f"`{column}` holds {found} in {len(wrong)} of {len(given)} rows, but says true or false (or 1 or "
            "0), in any case of the letters; write it so"
        )
    return texts.map(_FLAGS).to_numpy(dtype=np.bool_)


def negative_controls(frame: pd.DataFrame) -> Mask:
    """Which wells are negative controls."""
    return flags(frame, "is_negative_control")


def chosen_wells(frame: pd.DataFrame, statistics: str, *, step: str) -> Mask:
    """Which wells a step's statistics are fitted on.

    Raises:
        UserError: there is no negative control at all.
    """
    if statistics == "all":
        return np.ones(len(frame), np.bool_)
    mask = negative_controls(frame)
    if not mask.any():
        raise UserError(
            f"{step} is fitted on negative controls, but none of the {len(frame)} wells is one "
            "(column is_negative_control); mark them in the well table, or set statistics: all"
        )
    return mask


def rows_by_label(labels_N: Labels) -> dict[str, Positions]:
    """Positions of the rows of each label, labels sorted."""
    names, inverse = np.unique(labels_N, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    bounds = np.searchsorted(inverse[order], np.arange(len(names) + 1))
    return {
        str(name): order[start:stop] for name, start, stop in zip(names, bounds[:-1], bounds[1:], strict=True)
    }


def batch_positions(labels_N: Labels, *, known: Mapping[str, int], step: str) -> Positions:
    """The index of each well's batch among the fitted ones.

    Raises:
        UserError: a batch that the step was not fitted on.
    """
    names, inverse = np.unique(labels_N, return_inverse=True)
    unknown = [str(name) for name in names if str(name) not in known]
    if unknown:
        raise UserError(
            f"{step} was not fitted on the batches {unknown[:5]}, but each batch needs its own statistics; "
            "fit the map again with these wells in the table"
        )
    return np.array([known[str(name)] for name in names], np.intp)[inverse]


def refuse_small_batches(counts: Mapping[str, int], *, minimum: int, step: str, statistics: str) -> None:
    """Refuse batches with fewer wells to fit on than `minimum`, naming them."""
    small = {name: count for name, count in counts.items() if count < minimum}
    if small:
        shown = ", ".join(f"{name} ({count})" for name, count in list(small.items())[:5])
        more = f" and {len(small) - 5} more" if len(small) > 5 else ""
        wells = "negative controls" if statistics == "negative_controls" else "wells"
        raise UserError(
            f"{step} needs at least {minimum} {wells} in each batch, but these have fewer: {shown}{more}; "
            "set fallback: pooled, a coarser batch_key, or leave these batches out"
        )
