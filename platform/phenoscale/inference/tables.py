"""Embedding tables of fields and wells: which columns ride along, and how fields become a well.

Shapes: N fields, M wells, D embedding.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from phenoscale.errors import UserError
from phenoscale.schema.embeddings import NUM_CROPS, EmbeddingTable
from phenoscale.schema.keys import WELL_KEY
from phenoscale.schema.wells import COLUMNS

Codes = npt.NDArray[np.intp]

NUM_FIELDS = "num_fields"
# What says where pixels are or belongs to one data set's selection, not to the well.
_LEFT_OUT = ("image", "store", "plate_index", "field_index", "height", "width", "weight")
_OF_A_FIELD = ("site", "object", "field_id")
# A mean over wells of different content would be an average of perturbations that nobody asked for.
_ONE_PER_WELL = ("perturbation", "perturbation_type", "gene", "guide", "compound", "concentration_um")


def field_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Key, perturbation and unknown columns of fields."""
    kept = [name for name in frame.columns if name not in _LEFT_OUT]
    ordered = [name for name in COLUMNS if name in kept]
    return frame[ordered + [name for name in kept if name not in ordered]].reset_index(drop=True)


def average_wells(fields: EmbeddingTable) -> EmbeddingTable:
    """The mean of the fields of each well, wells in the order of their first field.

    A column keeps its value where all fields of the well agree, and is missing where they differ.

    Raises:
        UserError: a well with several perturbations.
    """
    codes, first = well_codes(fields.frame)
    counts = np.bincount(codes)
    sums_MD = np.zeros((len(counts), fields.dimensions))
    np.add.at(sums_MD, codes, fields.embeddings)
    means_MD = (sums_MD / counts[:, None]).astype(np.float32)
    frame = well_columns(fields.frame, codes=codes, first=first)
    frame[NUM_CROPS] = np.bincount(codes, weights=fields.frame[NUM_CROPS]).astype(np.int64)
    frame[NUM_FIELDS] = counts
    return replace(fields, frame=frame, embeddings=means_MD, level="well")


def well_codes(frame: pd.DataFrame) -> tuple[Codes, Codes]:
    """Number of each row's well, counted in the order of appearance, and each well's first row."""
    codes = frame.groupby(list(WELL_KEY), sort=False, dropna=False).ngroup().to_numpy(np.intp)
    first: Codes = np.unique(codes, return_index=True)[1]
    return np.asarray(codes, dtype=np.intp), first


def well_columns(frame: pd.DataFrame, *, codes: Codes, first: Codes) -> pd.DataFrame:
    """One row per well, of the columns that can be said of a well."""
    wells = frame.iloc[first].reset_index(drop=True)
    columns = [name for name in frame.columns if name not in (*_OF_A_FIELD, NUM_CROPS)]
    for name in columns:
        is_mixed = _differs_within(frame[name], codes=codes)
        if not is_mixed.any():
            continue
        if name in _ONE_PER_WELL:
            raise _mixed_well(frame, codes=codes, well=int(np.flatnonzero(is_mixed)[0]), column=name)
        wells[name] = wells[name].where(~is_mixed, "" if pd.api.types.is_string_dtype(wells[name]) else None)
    return wells[columns].copy()


def _differs_within(values: pd.Series[Any], *, codes: Codes) -> npt.NDArray[np.bool_]:
    """Which groups hold more than one value; missing is a value too, and lists are compared by their text."""
    listed = values.map(lambda value: isinstance(value, list | tuple | np.ndarray)).any()
    numbers, _ = pd.factorize(values.map(str) if listed else values, use_na_sentinel=False)
    first = np.zeros(codes.max() + 1, dtype=numbers.dtype)
    first[codes[::-1]] = numbers[::-1]
    return np.bincount(codes, weights=numbers != first[codes]) > 0


def _mixed_well(frame: pd.DataFrame, *, codes: Codes, well: int, column: str) -> UserError:
    rows = frame[codes == well]
    address = "/".join(str(rows[name].iloc[0]) for name in WELL_KEY)
    values = rows[column].drop_duplicates().tolist()[:5]
    return UserError(
        f"well {address} holds the {column} {values}, and a well-level mean would mix them; embed the fields "
        "alone (`outputs: [field]`), as for a pooled screen, or correct the well table"
    )
