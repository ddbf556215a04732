"""Neighbors: ranked by signed cosine, itself left out, names found as people write them."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from phenoscale.benchmarks.gene_sets.config import NeighborsConfig
from phenoscale.benchmarks.gene_sets.neighbors import find_neighbors, run_neighbors
from phenoscale.cli.main import main
from phenoscale.errors import UserError
from phenoscale.schema.maps import PerturbationMap, write_bare_map


def _map():
    vectors = np.random.default_rng(0).standard_normal((30, 6))
    return PerturbationMap(pd.DataFrame({"perturbation": [f"G{n}" for n in range(30)]}), vectors)


def test_neighbors_are_those_of_the_matrix_of_cosines_and_opposites_come_last():
    found = _map()
    vectors = found.embeddings.copy()
    vectors[7] = -2 * vectors[3]
    neighbors = find_neighbors(PerturbationMap(found.frame, vectors), "G3", other="G7", top=5)
    cosines = cosine_similarity(vectors)[3]
    expected = [index for index in np.argsort(-cosines) if index != 3][:5]
    assert [each.perturbation for each in neighbors.neighbors] == [f"G{index}" for index in expected]
    assert np.allclose([each.cosine for each in neighbors.neighbors], cosines[expected])
    assert neighbors.num_others == 29
    assert (neighbors.other.rank, neighbors.other.cosine) == (29, pytest.approx(-1.0))


def test_concentrations_are_named_and_strata_are_apart():
    frame = pd.DataFrame({"perturbation": ["a", "a", "b"], "concentration_um": [1.0, 10.0, np.nan]})
    found = PerturbationMap(frame, np.array([[1.0, 0], [0, 1], [1, 1]]))
    assert find_neighbors(found, "a 10 uM", top=1).neighbors[0].perturbation == "b"
    with pytest.raises(UserError, match="2 rows named 'a'"):
        find_neighbors(found, "a", top=1)


def test_unknown_names_and_zero_vectors_are_refused():
    found = _map()
    with pytest.raises(UserError, match="no perturbation 'G99'; did you mean"):
        find_neighbors(found, "G99", top=1)
    with pytest.raises(UserError, match="the perturbation itself"):
        find_neighbors(found, "G1", other="G1", top=1)
    vectors = found.embeddings.copy()
    vectors[1] = 0
    with pytest.raises(UserError, match="vector of G1 is zero"):
        find_neighbors(PerturbationMap(found.frame, vectors), "G1", top=1)


def test_the_verb_answers_lines_and_json(tmp_path, capsys):
    found = _map()
    frame = found.frame.assign(
        cell_type=["A549"] * 15 + ["U2OS"] * 15, perturbation=[f"G{n % 15}" for n in range(30)]
    )
    write_bare_map(tmp_path / "map.parquet", PerturbationMap(frame, found.embeddings))
    line = [
        "benchmark",
        "neighbors",
        "--map",
        str(tmp_path / "map.parquet"),
        "--perturbation",
        "G2",
        "--top",
        "3",
    ]
    assert main(line) == 0
    text = capsys.readouterr().out.splitlines()
    assert text[0] == "G2, cell_type A549: 14 others"
    assert len(text) == 8
    assert main([*line, "--json"]) == 0
    answered = json.loads(capsys.readouterr().out)
    assert [entry["stratum"]["cell_type"] for entry in answered] == ["A549", "U2OS"]
    assert [each["rank"] for each in answered[0]["neighbors"]] == [1, 2, 3]
    with pytest.raises(UserError, match="needs --perturbation"):
        run_neighbors(NeighborsConfig(map=str(tmp_path / "map.parquet")))
