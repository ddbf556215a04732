"""Which rows of a map are compounds, at which concentration, and which are genes. Shapes: N rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from phenoscale.errors import UserError
from phenoscale.schema.maps import PerturbationMap
from phenoscale.schema.readable import listed_columns

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Names = npt.NDArray[np.str_]

_GENETIC = ("crispr", "sirna", "orf")


def sides(perturbation_map: PerturbationMap) -> tuple[Mask, Mask]:
    """Which rows are compounds, and which are genes.

    Raises:
        UserError: the columns do not tell them apart, or perturbation_type has not both.
    """
    frame = perturbation_map.frame
    if "perturbation_type" in frame:
        kinds = frame["perturbation_type"].fillna("").astype(str)
        is_compound, is_gene = (kinds == "compound").to_numpy(), kinds.isin(_GENETIC).to_numpy()
        if not is_compound.any() or not is_gene.any():
            raise UserError(
                f"the map's perturbation_type holds {sorted(set(kinds))[:8]}, but compounds are marked "
                f"'compound' and genes one of {list(_GENETIC)}; give a map with both, and write these types"
            )
        return is_compound, is_gene
    if "concentration_um" in frame:
        has_dose = np.isfinite(concentrations_um(perturbation_map))
        return has_dose, ~has_dose
    raise UserError(
        f"the map has {listed_columns(frame.columns)}, which do not tell compounds from genes; add "
        "perturbation_type (compound, crispr, ...), or concentration_um for the compounds only"
    )


def at_concentrations(doses_N: Array, is_compound_N: Mask, *, wanted: Sequence[float]) -> Mask:
    """Which rows have a concentration that is asked for.

    Raises:
        UserError: no compound has.
    """
    has_dose = np.isclose(doses_N[:, None], np.array(wanted)[None, :]).any(axis=1)
    if not (has_dose & is_compound_N).any():
        known = np.unique(doses_N[is_compound_N & np.isfinite(doses_N)]).tolist()
        raise UserError(
            f"concentrations are {list(wanted)}, but the compounds of the truth table have {known[:8]} uM "
            "(concentration_um) in the map; choose among these"
        )
    return np.asarray(has_dose)


def concentrations_um(perturbation_map: PerturbationMap) -> Array:
    """Concentration of each row, [N]; NaN where the map has none."""
    if "concentration_um" not in perturbation_map.frame:
        return np.full(len(perturbation_map), np.nan)
    return perturbation_map.frame["concentration_um"].to_numpy(dtype=np.float64)


def compound_names(perturbation_map: PerturbationMap) -> Names:
    """Compound of each row, else its perturbation, [N]."""
    names: Names = perturbation_map.frame["perturbation"].astype(str).to_numpy(dtype=str)
    if "compound" not in perturbation_map.frame:
        return names
    given = perturbation_map.frame["compound"].fillna("").astype(str).to_numpy(dtype=str)
    return np.where(given == "", names, given)
