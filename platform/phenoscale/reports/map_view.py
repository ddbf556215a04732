"""A map made visible: two-dimensional layouts, an order for its heatmap, nearest neighbors.

Shapes: N perturbations, D dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from phenoscale.schema.maps import PerturbationMap

MAX_HEATMAP: Final = 200
_MIN_FOR_NEIGHBOR_LAYOUT: Final = 12

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MapView:
    """The perturbations that are shown.

    Attributes:
        names: perturbation of each row, with its concentration where it has one.
        groups: module, pathway or mechanism of each row, "" where it is unknown.
        units_ND: rows at length one.
        lengths_N: how far each row is from the negative controls.
        frame: label columns of the rows.
    """

    names: tuple[str, ...]
    groups: tuple[str, ...]
    units_ND: Array
    lengths_N: Array
    frame: pd.DataFrame

    def __len__(self) -> int:
        return len(self.names)


def view_map(
    perturbation_map: PerturbationMap, *, groups: Mapping[str, str], max_points: int, seed: int
) -> MapView:
    """Take the rows of a map that can be shown; too many are sampled."""
    rows = np.arange(len(perturbation_map))
    if len(rows) > max_points:
        rows = np.sort(np.random.default_rng(seed).choice(rows, max_points, replace=False))
    shown = perturbation_map.select(rows)
    vectors = shown.embeddings.astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1)
    entities = shown.entities
    perturbations = shown.frame["perturbation"].astype(str)
    return MapView(
        names=tuple(_names(shown.frame)),
        groups=tuple(
            groups.get(name, groups.get(entity, ""))
            for name, entity in zip(perturbations, entities, strict=True)
        ),
        units_ND=vectors / np.maximum(lengths, 1e-12)[:, None],
        lengths_N=lengths,
        frame=shown.frame,
    )


def lay_out(view: MapView, *, seed: int) -> dict[str, Array]:
    """Coordinates in the plane: neighbors kept together (t-SNE), and the plainest picture (PCA)."""
    centered = view.units_ND - view.units_ND.mean(axis=0)
    left, values, _ = np.linalg.svd(centered, full_matrices=False)
    plane = np.zeros((len(view), 2))
    kept = min(2, len(values))
    plane[:, :kept] = left[:, :kept] * values[:kept]
    if len(view) < _MIN_FOR_NEIGHBOR_LAYOUT:
        return {"PCA": plane}
    from sklearn.manifold import TSNE

    spread = max(float(np.std(plane[:, 0])), 1e-12)
    layout = TSNE(
        metric="cosine",
        # Started from the principal plane, so that the picture is the same every time.
        init=(plane / spread * 1e-4).astype(np.float32),
        perplexity=float(min(30, (len(view) - 1) / 4)),
        learning_rate="auto",
        random_state=seed,
    )
    return {"Neighbors (t-SNE)": layout.fit_transform(view.units_ND).astype(np.float64), "PCA": plane}


def cluster_order(view: MapView, *, seed: int) -> npt.NDArray[np.intp]:
    """Rows in the order of a dendrogram of their cosines; too many are sampled."""
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering

    rows = np.arange(len(view))
    if len(rows) > MAX_HEATMAP:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MAX_HEATMAP, replace=False))
    if len(rows) < 3:
        return rows
    cosines = np.clip(view.units_ND[rows] @ view.units_ND[rows].T, -1, 1)
    upper = (1 - cosines)[np.triu_indices(len(rows), 1)]
    tree = optimal_leaf_ordering(linkage(upper, "average"), upper)
    order: npt.NDArray[np.intp] = rows[leaves_list(tree)]
    return order


@dataclass(frozen=True)
class Neighbors:
    """The most similar perturbations of one query, the nearest first."""

    query: int
    rows: tuple[int, ...]
    cosines: tuple[float, ...]


def nearest_neighbors(view: MapView, *, num_queries: int, num_neighbors: int = 6) -> list[Neighbors]:
    """Neighbors of the strongest perturbations, of as many groups as possible."""
    found = []
    for query in _queries(view, count=num_queries):
        cosines = view.units_ND @ view.units_ND[query]
        cosines[query] = -np.inf
        nearest = np.argsort(-cosines, kind="stable")[: min(num_neighbors, len(view) - 1)]
        found.append(
            Neighbors(query, tuple(map(int, nearest)), tuple(float(value) for value in cosines[nearest]))
        )
    return found


def same_group_share(view: MapView) -> tuple[float, float, int]:
    """How often the nearest neighbor shares the group, how often a random one would, of how many rows."""
    groups = np.array(view.groups)
    known = np.flatnonzero(groups != "")
    if len(known) < 3:
        return float("nan"), float("nan"), 0
    units = view.units_ND[known]
    cosines = units @ units.T
    np.fill_diagonal(cosines, -np.inf)
    own = groups[known]
    share = float((own[cosines.argmax(axis=1)] == own).mean())
    _, counts = np.unique(own, return_counts=True)
    chance = float((counts * (counts - 1)).sum() / (len(own) * (len(own) - 1)))
    return share, chance, len(own)


def _queries(view: MapView, *, count: int) -> list[int]:
    order = [int(row) for row in np.argsort(-view.lengths_N, kind="stable")]
    chosen: list[int] = []
    seen: set[str] = set()
    for row in order:
        if view.groups[row] and view.groups[row] not in seen:
            seen.add(view.groups[row])
            chosen.append(row)
    chosen += [row for row in order if row not in set(chosen)]
    return chosen[: min(count, len(view))]


def _names(frame: pd.DataFrame) -> list[str]:
    names = frame["perturbation"].astype(str).tolist()
    if "concentration_um" not in frame:
        return names
    doses = pd.to_numeric(frame["concentration_um"], errors="coerce")
    return [
        f"{name} {dose:g} µM" if pd.notna(dose) else name for name, dose in zip(names, doses, strict=True)
    ]
