"""Chromosome-arm correction (proximity bias): subtract the mean of an arm's unexpressed genes from its genes.

As proxbias `arm_centering.py` (Lazar et al., Nature Genetics 2024): unexpressed means
expression strictly below the threshold, an arm qualifies with strictly more unexpressed genes than the
minimum, and every gene of a qualifying arm is corrected. With `reference: all` every gene of the arm takes
the place of the unexpressed ones. Shapes: N perturbations, D dimensions, A corrected (stratum, arm) pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from phenoscale.config import setting
from phenoscale.errors import UserError
from phenoscale.mapping.genes import arm_lookup, arms_of
from phenoscale.mapping.steps.aggregate import stratum_names
from phenoscale.mapping.steps.step import MapStep
from phenoscale.schema.maps import PerturbationMap
from phenoscale.stats.moments import Array


class ArmCorrectionStep(MapStep):
    """Subtract from every gene the mean of the unexpressed genes of its chromosome arm (proximity bias).

    The mean of a few genes is noisy, and all genes of the arm inherit its noise: with few unexpressed genes
    take the mean over all genes of the arm, which assumes that no arm is one phenotype.
    """

    name: Literal["arm_correction"] = "arm_correction"
    reference: Literal["unexpressed", "all"] = setting(
        "unexpressed", help="genes whose mean is subtracted: the arm's unexpressed genes, or all of its genes"
    )
    min_num_genes: int = setting(
        20, ge=0, help="an arm is corrected when it has more reference genes than this"
    )
    expression_column: str = setting("zfpkm", help="column of the gene table that holds the expression")
    unexpressed_below: float = setting(-3.0, help="a gene is unexpressed below this value")

    @property
    def gene_columns(self) -> tuple[str, ...]:
        """The columns of the gene table that the step reads."""
        return ("arm", self.expression_column)

    def fit(self, perturbation_map: PerturbationMap, genes: pd.DataFrame) -> ArmCorrection:
        """Find the arms that qualify and the mean of their reference genes."""
        return fit_arm_correction(perturbation_map, genes, step=self)

    def remarks(self, fitted: Any) -> tuple[dict[str, Any], list[str]]:
        """Which arms are corrected; a warning where none is."""
        record = {"corrected_arms": [list(place) for place in fitted.places]}
        if fitted.places:
            return record, []
        return record, [
            f"arm_correction changed nothing: no arm has more than {self.min_num_genes} unexpressed genes in "
            "the map"
        ]


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
