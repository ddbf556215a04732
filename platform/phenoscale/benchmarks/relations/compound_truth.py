"""Measured activities of compounds on genes: a CSV with treatment, gene_symbol and nM_value.

Shapes: P pairs of a compound and a gene.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from phenoscale.errors import UserError
from phenoscale.schema.readable import listed_columns, readable

COLUMNS = ("treatment", "gene_symbol", "nM_value")


@dataclass(frozen=True)
class CompoundTruth:
    """The most potent measurement of every pair, sorted by compound and gene.

    Attributes:
        compounds: [P] names.
        genes: [P] names.
        potencies_nm: [P].
        num_unusable: rows of the file without a value.
    """

    compounds: npt.NDArray[np.str_]
    genes: npt.NDArray[np.str_]
    potencies_nm: npt.NDArray[np.float64]
    num_unusable: int

    def __len__(self) -> int:
        return len(self.compounds)


def read_compound_truth(path: str | Path) -> CompoundTruth:
    """Read a truth table.

    Raises:
        UserError: a missing or unreadable file, another header, an empty name, or a value that is no number.
    """
    file = Path(path)
    way_out = f"write it with the header {','.join(COLUMNS)}"
    with readable(file, holds="a table of activities", way_out=way_out):
        frame = pd.read_csv(file, dtype=str, keep_default_na=False)
    missing = [name for name in COLUMNS if name not in frame]
    if missing:
        raise UserError(
            f"{file} has {listed_columns(frame.columns)}, but activities need {list(COLUMNS)}; "
            f"rename the columns that hold {missing}"
        )
    return parse_compound_truth(frame, source=str(file))


def parse_compound_truth(frame: pd.DataFrame, *, source: str) -> CompoundTruth:
    """Check a frame with the columns treatment, gene_symbol and nM_value, and keep the best of each pair.

    Raises:
        UserError: an empty name, a value that is no number or negative, or no usable row.
    """
    names = frame[list(COLUMNS[:2])].fillna("").astype(str).apply(lambda column: column.str.strip())
    nameless = np.flatnonzero((names == "").any(axis=1).to_numpy())
    if len(nameless):
        raise UserError(
            f"{source} has an empty name in {len(nameless)} of {len(frame)} rows (line "
            f"{int(nameless[0]) + 2} first); the file may be cut short: complete or remove these lines"
        )
    given = frame["nM_value"].fillna("").astype(str).str.strip()
    values = pd.to_numeric(given, errors="coerce").to_numpy(dtype=float)
    is_empty = given.str.lower().isin(["", "nan", "na"]).to_numpy()
    wrong = np.flatnonzero(~is_empty & ~(np.isfinite(values) & (values >= 0)))
    if len(wrong):
        raise UserError(
            f"{source} has nM_value {given.iloc[wrong[0]]!r} in line {int(wrong[0]) + 2}, but an activity "
            "is a nanomolar number from 0 on; convert or remove such lines"
        )
    if is_empty.all():
        raise UserError(f"{source} has no row with an nM_value, so no activity is known; check the file")
    usable = names[~is_empty].assign(nM_value=values[~is_empty])
    best: Any = usable.groupby(list(COLUMNS[:2]), sort=True)["nM_value"].min().reset_index()
    return CompoundTruth(
        best["treatment"].to_numpy(dtype=str),
        best["gene_symbol"].to_numpy(dtype=str),
        best["nM_value"].to_numpy(dtype=float),
        int(is_empty.sum()),
    )
