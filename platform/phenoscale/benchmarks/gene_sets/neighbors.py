"""Neighbors of a perturbation in a map, ranked by signed cosine. Shapes: N perturbations, D dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from phenoscale.benchmarks.gene_sets.config import NeighborsConfig
from phenoscale.config import require
from phenoscale.errors import UserError
from phenoscale.schema.maps import PerturbationMap, read_map
from phenoscale.schema.wells import nearest_name
from phenoscale.stats.cosines import unit_rows

VERB = "benchmark neighbors"


@dataclass(frozen=True)
class Neighbor:
    """One perturbation with its place in the ranking (1 is the most similar)."""

    rank: int
    perturbation: str
    cosine: float


@dataclass(frozen=True)
class Neighbors:
    """The perturbations most like one of them, in each stratum of a map.

    Attributes:
        perturbation: whose neighbors.
        stratum: cell type and time point where the map has several.
        neighbors: the most similar ones, most similar first.
        num_others: perturbations that were ranked.
        other: the second perturbation that was asked for, with its rank.
    """

    perturbation: str
    stratum: dict[str, Any]
    neighbors: tuple[Neighbor, ...]
    num_others: int
    other: Neighbor | None = None


class NeighborList(list[Neighbors]):
    """Neighbors in every stratum: what the verb returns."""

    def text(self) -> str:
        """One line per neighbor: rank, cosine, name."""
        lines = []
        for found in self:
            place = "".join(f", {name} {value}" for name, value in found.stratum.items())
            lines.append(f"{found.perturbation}{place}: {found.num_others} others")
            shown = [*found.neighbors, *([found.other] if found.other else [])]
            lines += [f"  {each.rank:>5}  {each.cosine:+.4f}  {each.perturbation}" for each in shown]
        return "\n".join(lines)


def run_neighbors(config: NeighborsConfig) -> NeighborList:
    """Neighbors of one perturbation in every stratum that has it."""
    found = read_map(require(config, "map", verb=VERB))
    if not config.perturbation:
        raise UserError(f"{VERB} needs --perturbation, got ''; name a perturbation of the map")
    parts = [(stratum, part) for stratum, part in found.by_stratum() if _has(part, config.perturbation)]
    if not parts:
        raise _unknown(config.perturbation, found)
    return NeighborList(
        find_neighbors(part, config.perturbation, other=config.other, top=config.top, stratum=stratum)
        for stratum, part in parts
    )


def find_neighbors(
    part: PerturbationMap,
    perturbation: str,
    *,
    other: str = "",
    top: int,
    stratum: dict[str, Any] | None = None,
) -> Neighbors:
    """Rank all others by their cosine with one perturbation; ties keep the order of the map.

    Args:
        part: one stratum of a map.
        perturbation: a label of the map, or the gene of exactly one row.
        other: a second perturbation, whose rank is wanted; "" for none.
        top: how many neighbors.
        stratum: the stratum's values, to be shown.

    Raises:
        UserError: a name that the map lacks or has more than once, or a perturbation whose vector is zero.
    """
    names = _names(part)
    row = _row(part, perturbation)
    units_ND, is_zero_N = unit_rows(part.embeddings)
    if is_zero_N[row]:
        raise UserError(
            f"the vector of {perturbation} is zero, so it is like nothing; choose another perturbation"
        )
    cosines = np.clip(units_ND @ units_ND[row], -1.0, 1.0)
    order = np.argsort(-cosines, kind="stable")
    order = order[order != row]
    ranked = [
        Neighbor(rank, names[index], float(cosines[index])) for rank, index in enumerate(order[:top], 1)
    ]
    asked = None
    if other:
        index = _row(part, other)
        place = np.flatnonzero(order == index)
        if not len(place):
            raise UserError(f"--other is {other!r}, the perturbation itself; name another one")
        asked = Neighbor(int(place[0]) + 1, names[index], float(cosines[index]))
    return Neighbors(names[row], stratum or {}, tuple(ranked), len(order), asked)


def _names(part: PerturbationMap) -> list[str]:
    """Labels as they are shown: a compound comes with its concentration."""
    labels = part.frame["perturbation"].astype(str).tolist()
    if "concentration_um" not in part.frame:
        return labels
    doses = part.frame["concentration_um"].astype(float).tolist()
    return [
        label if np.isnan(dose) else f"{label} {dose:g} uM" for label, dose in zip(labels, doses, strict=True)
    ]


def _matching(part: PerturbationMap, name: str) -> npt.NDArray[np.intp]:
    """Rows with a shown name, else a label, else a gene."""
    for labels in (_names(part), part.frame["perturbation"].astype(str).tolist(), part.entities.tolist()):
        rows = np.flatnonzero(np.array(labels, dtype=np.str_) == name)
        if len(rows):
            return rows
    return np.empty(0, np.intp)


def _has(part: PerturbationMap, name: str) -> bool:
    return bool(len(_matching(part, name)))


def _row(part: PerturbationMap, name: str) -> int:
    rows = _matching(part, name)
    if not len(rows):
        raise _unknown(name, part)
    if len(rows) > 1:
        shown = [_names(part)[row] for row in rows[:5]]
        raise UserError(f"the map has {len(rows)} rows named {name!r}: {shown}; name one of them")
    return int(rows[0])


def _unknown(name: str, part: PerturbationMap) -> UserError:
    near = nearest_name(name, sorted({*part.entities.tolist(), *_names(part)}))
    hint = f"did you mean {near!r}?" if near else f"it has names such as {_names(part)[:5]}"
    return UserError(f"the map has no perturbation {name!r}; {hint}")
