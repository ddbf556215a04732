"""Wells of RxRx1: their siRNA and the parts of the official and the WILDS split.

Labels: 0 to 1107 are treatments, 1108 to 1137 positive controls, 1138 the negative control. Experiments are
numbered in the order of their names (HEPG2-01 is 0, U2OS-05 is 50), which gives the codes of WILDS.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from phenoscale.errors import UserError
from phenoscale.schema.addresses import format_address, is_address, split_address
from phenoscale.schema.keys import WELL_KEY
from phenoscale.schema.readable import listed_columns, readable

Labels = npt.NDArray[np.str_]
Codes = npt.NDArray[np.int64]
Split = Literal["official", "wilds"]

KEY: Final = WELL_KEY[1:]
"""RxRx1 is one screen, whatever a store calls it."""
LABEL: Final = "sirna_id"
NUM_LABELS: Final = 1139
NEGATIVE_CONTROL: Final = 1138
EXPERIMENTS: Final = {"HEPG2": (7, 4), "HUVEC": (16, 8), "RPE": (7, 4), "U2OS": (3, 2)}
"""Training and test experiments of each cell type: the first ones train."""
_VALIDATION_CODES: Final = (7, 27, 42, 49)
_NAME = re.compile(r"([A-Z0-9]+)-(\d+)")

TRAIN, ID_TEST, VALIDATION, TEST = "train", "id_test", "validation", "test"


def experiment_codes() -> dict[str, int]:
    """Code of each of the 51 experiments, by its name with two digits."""
    names = [f"{cell}-{n:02d}" for cell, (a, b) in EXPERIMENTS.items() for n in range(1, a + b + 1)]
    return {name: code for code, name in enumerate(names)}


def canonical_experiment(name: str) -> str:
    """`HUVEC-1` and `HUVEC-01` are one experiment.

    Raises:
        UserError: the name is none of RxRx1.
    """
    match = _NAME.fullmatch(name)
    found = f"{match[1]}-{int(match[2]):02d}" if match else ""
    if found not in experiment_codes():
        raise UserError(
            f"{name!r} is no experiment of RxRx1; they are HEPG2-01 to 11, HUVEC-01 to 24, RPE-01 to 11, "
            "U2OS-01 to 05: use these names"
        )
    return found


def cell_type_of(experiments_N: Labels) -> Labels:
    """The cell type, which the name of the experiment begins with."""
    return np.char.partition(experiments_N, "-")[..., 0]


def parts_of(experiments_N: Labels, *, split: Split, sites_N: Codes | None = None) -> Labels:
    """The part of a split that each row belongs to.

    `official`: train and test. `wilds`: train (site 1 of the training experiments; all their rows where sites
    are not told apart), id_test (their site 2), validation (4 experiments) and test (14).
    """
    codes = experiment_codes()
    first_test = {cell: codes[f"{cell}-{a + 1:02d}"] for cell, (a, _) in EXPERIMENTS.items()}
    code_N = np.array([codes[name] for name in experiments_N.tolist()], np.int64)
    is_test = code_N >= np.array(
        [first_test[cell] for cell in cell_type_of(experiments_N).tolist()], np.int64
    )
    parts = np.where(is_test, TEST, TRAIN)
    if split == "official":
        return parts
    parts = np.where(np.isin(code_N, _VALIDATION_CODES), VALIDATION, parts)
    second = np.zeros(len(parts), np.bool_) if sites_N is None else sites_N == 2
    return np.where((parts == TRAIN) & second, ID_TEST, parts)


def holdout_of_training(experiments_N: Labels) -> npt.NDArray[np.bool_]:
    """The last training experiment of each cell type, to choose a setting on."""
    held = {f"{cell}-{a:02d}" for cell, (a, _) in EXPERIMENTS.items()}
    return np.isin(experiments_N, sorted(held))


def read_rxrx1_wells(paths: Sequence[str | Path]) -> pd.DataFrame:
    """Read experiment, plate, well and sirna_id (-1: not known) of every well.

    Takes RxRx1's own metadata.csv (rows are sites) and tables of the earlier Kaggle release, whose `sirna` is
    the number, with or without it (test).

    Raises:
        UserError: an unreadable file, another header, a label out of range, or a well with two labels.
    """
    frame = pd.concat([_read_table(Path(path)) for path in paths], ignore_index=True).drop_duplicates()
    repeated = frame.duplicated(list(KEY))
    if repeated.any():
        first = "/".join(frame.loc[repeated, list(KEY)].iloc[0])
        raise UserError(
            f"{[str(path) for path in paths]} give {int(repeated.sum())} wells two labels, such as {first}, "
            "but a well has one; give each table once"
        )
    return frame.reset_index(drop=True)


def parse_wells(frame: pd.DataFrame, *, source: str) -> pd.DataFrame:
    """Check the columns of wells and make their names and labels canonical.

    Raises:
        UserError: a missing column, an unknown experiment, or a label out of range.
    """
    missing = [name for name in KEY if name not in frame]
    if missing:
        raise UserError(
            f"{source} has {listed_columns(frame.columns)}, but wells need {list(KEY)}; add {missing}"
        )
    names = frame["experiment"].astype(str)
    canonical = {name: canonical_experiment(name) for name in names.unique()}
    wells = frame["well"].astype(str)
    addresses = {w: format_address(*split_address(w)) if is_address(w) else w for w in wells.unique()}
    return pd.DataFrame(
        {
            "experiment": names.map(canonical),
            "plate": frame["plate"].astype(str).str.removeprefix("Plate"),
            "well": wells.map(addresses),
            LABEL: _labels(frame, source=source),
        },
        index=frame.index,
    )


def _read_table(file: Path) -> pd.DataFrame:
    with readable(file, holds="a table of wells", way_out="download or copy it again"):
        frame = pd.read_csv(file, dtype=str, keep_default_na=False)
    return parse_wells(frame, source=str(file))


def _labels(frame: pd.DataFrame, *, source: str) -> Codes:
    """The number of the siRNA, -1 where a table or a row does not say it."""
    column = LABEL if LABEL in frame else "sirna"
    if column not in frame:
        return np.full(len(frame), -1, np.int64)
    given = frame[column].astype(object).where(frame[column].notna(), "").astype(str).str.strip()
    numbers = pd.to_numeric(given.where(given != "", "-1"), errors="coerce").to_numpy(dtype=float)
    wrong = np.flatnonzero(~((numbers >= -1) & (numbers < NUM_LABELS) & (numbers == np.floor(numbers))))
    if len(wrong):
        raise UserError(
            f"{source} has the {column} {given.iloc[wrong[0]]!r}, but a label is a number from 0 to "
            f"{NUM_LABELS - 1}; use RxRx1's sirna_id, or correct the row"
        )
    return numbers.astype(np.int64)
