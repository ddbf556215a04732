"""Layouts, neighbors and shares of a map."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA

from phenoscale.reports.map_view import (
    MapView,
    cluster_order,
    lay_out,
    nearest_neighbors,
    same_group_share,
    view_map,
)
from phenoscale.schema.maps import PerturbationMap

NUM_GROUPS, PER_GROUP, DIMENSIONS = 5, 6, 12


@pytest.fixture(scope="module")
def planted() -> PerturbationMap:
    rng = np.random.default_rng(3)
    centers = rng.standard_normal((NUM_GROUPS, DIMENSIONS)) * 3
    vectors = np.repeat(centers, PER_GROUP, axis=0) + 0.4 * rng.standard_normal(
        (NUM_GROUPS * PER_GROUP, DIMENSIONS)
    )
    frame = pd.DataFrame({"perturbation": [f"G{i:02d}" for i in range(len(vectors))]})
    return PerturbationMap(frame, vectors)


@pytest.fixture(scope="module")
def view(planted: PerturbationMap) -> MapView:
    groups = {f"G{i:02d}": f"module {i // PER_GROUP}" for i in range(NUM_GROUPS * PER_GROUP)}
    return view_map(planted, groups=groups, max_points=1000, seed=0)


def test_neighbors_are_those_of_all_cosines(view: MapView, planted: PerturbationMap) -> None:
    units = planted.embeddings / np.linalg.norm(planted.embeddings, axis=1, keepdims=True)
    for entry in nearest_neighbors(view, num_queries=30, num_neighbors=4):
        cosines = units @ units[entry.query]
        order = [row for row in np.argsort(-cosines) if row != entry.query][:4]
        assert list(entry.rows) == order
        np.testing.assert_allclose(entry.cosines, cosines[order])


def test_queries_are_the_strongest_of_each_group_first(view: MapView) -> None:
    queries = [entry.query for entry in nearest_neighbors(view, num_queries=NUM_GROUPS)]
    assert {view.groups[row] for row in queries} == {f"module {i}" for i in range(NUM_GROUPS)}
    for row in queries:
        same = [
            length
            for group, length in zip(view.groups, view.lengths_N, strict=True)
            if group == view.groups[row]
        ]
        assert view.lengths_N[row] == max(same)


def test_planted_groups_share_their_neighbors_far_above_chance(view: MapView) -> None:
    share, chance, count = same_group_share(view)
    assert (share, count) == (1.0, NUM_GROUPS * PER_GROUP)
    assert chance == pytest.approx((PER_GROUP - 1) / (NUM_GROUPS * PER_GROUP - 1))


def test_the_plane_is_that_of_principal_components(view: MapView) -> None:
    plane = lay_out(view, seed=0)["PCA"]
    expected = PCA(2).fit_transform(view.units_ND)
    np.testing.assert_allclose(np.abs(plane), np.abs(expected), atol=1e-9)


def test_the_neighbor_layout_is_the_same_every_time_and_keeps_groups_apart(view: MapView) -> None:
    first, second = (lay_out(view, seed=0)["Neighbors (t-SNE)"] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    centers = first.reshape(NUM_GROUPS, PER_GROUP, 2).mean(axis=1)
    nearest = np.linalg.norm(first[:, None] - centers[None], axis=2).argmin(axis=1)
    assert (nearest == np.repeat(np.arange(NUM_GROUPS), PER_GROUP)).all()


def test_clustering_puts_groups_side_by_side(view: MapView) -> None:
    order = cluster_order(view, seed=0)
    groups = [view.groups[row] for row in order]
    assert sorted(order) == list(range(len(view)))
    assert sum(a != b for a, b in itertools.pairwise(groups)) == NUM_GROUPS - 1


def test_a_large_map_is_sampled_to_what_can_be_shown(planted: PerturbationMap) -> None:
    shown = view_map(planted, groups={}, max_points=10, seed=0)
    assert len(shown) == len(shown.names) == 10
    assert shown.names == view_map(planted, groups={}, max_points=10, seed=0).names


def test_doses_are_part_of_a_name() -> None:
    frame = pd.DataFrame({"perturbation": ["taxol", "taxol", "gene"], "concentration_um": [0.3, 1.0, None]})
    shown = view_map(PerturbationMap(frame, np.eye(3)), groups={}, max_points=10, seed=0)
    assert shown.names == ("taxol 0.3 µM", "taxol 1 µM", "gene")


def test_a_tiny_map_has_one_layout() -> None:
    frame = pd.DataFrame({"perturbation": ["a", "b", "c"]})
    shown = view_map(PerturbationMap(frame, np.eye(3)), groups={}, max_points=10, seed=0)
    assert list(lay_out(shown, seed=0)) == ["PCA"]
    assert len(cluster_order(shown, seed=0)) == 3
