"""Chromosome-arm correction (proximity bias): subtract the mean of an arm's unexpressed genes from its genes.

As proxbias `arm_centering.py` (Lazar et al., Nature Genetics 2024): unexpressed means
expression strictly below the threshold, an arm qualifies with strictly more unexpressed genes than the
minimum, and every gene of a qualifying arm is corrected. With `reference: all` every gene of the arm takes
the place of the unexpressed ones. Shapes: N perturbations, D dimensions, A corrected (stratum, arm) pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from phenoscale.errors import UserError
from phenoscale.mapping.aggregate import stratum_names
from phenoscale.mapping.config import ArmCorrectionStep
from phenoscale.schema.maps import PerturbationMap
from phenoscale.schema.readable import listed_columns, readable
from phenoscale.stats.moments import Array


@dataclass(frozen=True)
class ArmCorrection:
    """Fitted arm means.

    Attributes:
        arms: arm of each gene of the gene table.
        places: the corrected (stratum, arm) pairs; row i of `means` is pair i.
        means: [A, D].
        num_reference: genes behind each mean.
    """

    name: ClassVar[str] = "arm_correction"
    arms: dict[str, str]
    places: tuple[tuple[str, str], ...]
    means: Array
    num_reference: tuple[int, ...]

    def transform(self, perturbation_map: PerturbationMap) -> PerturbationMap:
        """Subtract the arm means; a gene without an arm, or of one that does not qualify, stays as it is."""
        known = {place: index for index, place in enumerate(self.places)}
        names = stratum_names(perturbation_map.frame, perturbation_map.strata)
        arms = arms_of(perturbation_map, self.arms)
        index_N = np.array([known.get(place, -1) for place in zip(names, arms, strict=True)])
        moved = np.flatnonzero(index_N >= 0)
        corrected = perturbation_map.embeddings.copy()
        corrected[moved] = corrected[moved] - self.means[index_N[moved]]
        return replace(perturbation_map, embeddings=corrected)

    def parameters(self) -> dict[str, Array]:
        """The fitted arrays."""
        return {"means": self.means, "num_reference": np.array(self.num_reference, np.float64)}


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


def fit_arm_correction(
    perturbation_map: PerturbationMap, genes: pd.DataFrame, *, step: ArmCorrectionStep
) -> ArmCorrection:
    """Find the arms that qualify in each stratum and the mean of their reference genes.

    Raises:
        UserError: no gene of the table is in the map.
    """
    lookup = arm_lookup(genes)
    expression = pd.to_numeric(genes[step.expression_column], errors="coerce")
    unexpressed = set(genes["gene"][expression < step.unexpressed_below].astype(str))
    entities = perturbation_map.entities
    arms = arms_of(perturbation_map, lookup)
    if not (arms != "").any():
        raise UserError(
            f"arm_correction finds none of the {len(entities)} perturbations among the {len(genes)} genes "
            "of the "
            "gene table; check that both use the same gene symbols"
        )
    strata = np.array(stratum_names(perturbation_map.frame, perturbation_map.strata), dtype=np.str_)
    takes_all = step.reference == "all"
    is_reference = np.array([takes_all or str(name) in unexpressed for name in entities])
    places, means, counts = [], [], []
    for stratum in np.unique(strata):
        for arm in np.unique(arms[arms != ""]):
            rows = np.flatnonzero((strata == stratum) & (arms == arm) & is_reference)
            if len(rows) > step.min_num_genes:
                places.append((str(stratum), str(arm)))
                means.append(perturbation_map.embeddings[rows].astype(np.float64).mean(axis=0))
                counts.append(len(rows))
    stacked = np.stack(means) if means else np.zeros((0, perturbation_map.dimensions))
    return ArmCorrection(lookup, tuple(places), stacked, tuple(counts))
