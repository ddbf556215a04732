"""Gene tables (gene, chromosome arm, expression), and the arm of each row of a map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from phenoscale.errors import UserError
from phenoscale.schema.maps import PerturbationMap
from phenoscale.schema.readable import listed_columns, readable


def read_arms(path: str | Path) -> dict[str, str]:
    """The arm of each gene of a gene table, refused as by `read_genes`."""
    return arm_lookup(read_genes(path, columns=("arm",)))


def read_genes(path: str | Path, *, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a gene table (CSV) with `gene`, `arm` and further columns.

    Raises:
        UserError: a missing file or column, or a gene that is listed twice.
    """
    file = Path(path)
    with readable(file, holds="a gene table", way_out="write it with a header row"):
        genes = pd.read_csv(file, dtype={"gene": str, "arm": str}, keep_default_na=True)
    needed = ["gene", *columns]
    missing = [name for name in needed if name not in genes]
    if missing:
        raise UserError(
            f"{file} has {listed_columns(genes.columns)}, but needs {needed}; add {missing} or name "
            "another column"
        )
    twice = genes["gene"][genes["gene"].duplicated()]
    if len(twice):
        raise UserError(
            f"{file} lists {len(twice)} genes twice, such as {twice.head(5).tolist()}, but a gene is on one "
            "arm; "
            "keep one row for each"
        )
    return genes


def arm_lookup(genes: pd.DataFrame) -> dict[str, str]:
    """Arm of each gene that has one."""
    known = genes.dropna(subset=["gene", "arm"])
    return {str(gene): str(arm) for gene, arm in zip(known["gene"], known["arm"], strict=True) if arm}


def arms_of(perturbation_map: PerturbationMap, arms: dict[str, str]) -> npt.NDArray[np.str_]:
    """Arm of each row of a map, empty where it has none."""
    return np.array([arms.get(str(name), "") for name in perturbation_map.entities], dtype=np.str_)
