"""Aggregation: slow twins of the three means, strata kept apart, controls at the origin, not in the map."""

import numpy as np
import pandas as pd
import pytest

from phenoscale.errors import UserError
from phenoscale.mapping.steps.aggregate import AggregateStep, fit_aggregate
from phenoscale.schema.embeddings import EmbeddingTable
from tests.support.wells import in_two_screens, make_wells


def _map(table, *, strata=("cell_type", "timepoint_h"), include_positive_controls=False, **settings):
    fitted = fit_aggregate(
        table,
        step=AggregateStep(**settings),
        strata=strata,
        include_positive_controls=include_positive_controls,
    )
    return fitted.transform(table)


def _normalized(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


_SLOW = {
    "mean": lambda rows: rows.mean(axis=0),
    "median": lambda rows: np.median(rows, axis=0),
    "spherical": lambda rows: _normalized(_normalized(rows).sum(axis=0)),
}


@pytest.mark.parametrize("method", list(_SLOW))
@pytest.mark.parametrize("via_guide", [False, True])
def test_each_method_equals_its_slow_twin(method, via_guide):
    table = make_wells()
    controls = table.frame["is_negative_control"].to_numpy(dtype=bool)
    centered = table.embeddings - table.embeddings[controls].mean(axis=0)
    found = _map(table, method=method, via_guide=via_guide)
    for name, vector in zip(found.entities, found.embeddings, strict=True):
        rows = (table.frame["perturbation"] == name).to_numpy(dtype=bool)
        groups = [rows]
        if via_guide:
            guides = table.frame["guide"].to_numpy(dtype=str)
            groups = [rows & (guides == guide) for guide in sorted(set(guides[rows]))]
        of_guides = np.stack([_SLOW[method](centered[group]) for group in groups])
        expected = _SLOW[method](of_guides) if via_guide else of_guides[0]
        assert np.allclose(vector, expected)


def test_the_map_holds_genes_with_counts_and_no_controls():
    table = make_wells(num_experiments=2, num_plates=2, num_genes=6, replicates=4)
    found = _map(table)
    assert found.entities.tolist() == [f"G{index}" for index in range(1, 7)]
    assert set(found.frame["num_wells"]) == {16}
    assert set(found.frame["num_guides"]) == {2}
    assert set(found.frame["num_experiments"]) == {2}
    assert set(found.frame["num_crops"]) == {64}
    assert set(found.frame["cell_type"]) == {"U2OS"}


def test_positive_controls_enter_only_when_asked():
    table = make_wells()
    frame = table.frame.assign(is_positive_control=table.frame["perturbation"] == "G3")
    table = EmbeddingTable(frame, table.embeddings, "well")
    assert "G3" not in _map(table).entities
    assert "G3" in _map(table, include_positive_controls=True).entities


def test_cell_lines_and_time_points_are_never_averaged():
    table = make_wells()
    times = np.where(np.arange(len(table)) // 6 % 2 == 0, 24.0, 48.0)
    table = EmbeddingTable(table.frame.assign(timepoint_h=times), table.embeddings, "well")
    found = _map(table)
    assert len(found) == 12
    early = (found.frame["timepoint_h"] == 24).to_numpy(dtype=bool)
    controls = table.frame["is_negative_control"].to_numpy(dtype=bool) & (times == 24)
    rows = (table.frame["perturbation"] == "G1").to_numpy(dtype=bool) & (times == 24)
    expected = table.embeddings[rows].mean(axis=0) - table.embeddings[controls].mean(axis=0)
    assert np.allclose(found.embeddings[early][0], expected)
    assert len(_map(table, strata=("cell_type",))) == 6


def test_a_compound_has_one_vector_per_concentration_and_a_gene_ignores_it():
    table = make_wells()
    doses = np.where(np.arange(len(table)) // 6 % 2 == 0, 1.0, 10.0)
    frame = table.frame.assign(concentration_um=doses, moa="m")
    kinds = np.where(frame["perturbation"] == "G1", "compound", frame["perturbation_type"])
    found = _map(EmbeddingTable(frame.assign(perturbation_type=kinds), table.embeddings, "well"))
    assert found.frame["perturbation"].value_counts()["G1"] == 2
    assert len(found) == 7
    unguided = EmbeddingTable(frame.assign(guide=""), table.embeddings, "well")
    assert set(_map(unguided).frame["num_guides"]) == {0}
    assert found.frame.loc[found.frame["perturbation"] == "G1", "concentration_um"].tolist() == [1.0, 10.0]
    assert found.frame.loc[found.frame["perturbation"] != "G1", "concentration_um"].isna().all()
    assert set(found.frame["moa"]) == {"m"}


def test_a_stratum_without_negative_controls_is_refused_by_name():
    table = make_wells()
    frame = table.frame.assign(
        cell_type=np.where(table.frame["is_negative_control"], "U2OS", "A549"), timepoint_h=np.nan
    )
    with pytest.raises(UserError, match="stratum cell_type=A549 has none"):
        _map(EmbeddingTable(frame, table.embeddings, "well"))
    assert len(_map(EmbeddingTable(frame, table.embeddings, "well"), origin="none")) == 6


def test_without_an_origin_nothing_is_subtracted():
    table = make_wells()
    rows = (table.frame["perturbation"] == "G1").to_numpy(dtype=bool)
    assert np.allclose(_map(table, origin="none").embeddings[0], table.embeddings[rows].mean(axis=0))


def test_a_table_of_nothing_but_controls_has_no_map():
    table = make_wells()
    controls = table.select(table.frame["is_negative_control"].to_numpy(dtype=bool))
    with pytest.raises(UserError, match="is a perturbation under test"):
        _map(controls)


def test_guides_are_needed_to_average_via_guides():
    table = make_wells()
    bare = EmbeddingTable(table.frame.drop(columns="guide"), table.embeddings, "well")
    with pytest.raises(UserError, match="no `guide` column"):
        _map(bare, via_guide=True)


def test_wells_without_a_perturbation_stay_out():
    table = make_wells()
    names = table.frame["perturbation"].where(table.frame["perturbation"] != "G2", "")
    assert len(_map(EmbeddingTable(table.frame.assign(perturbation=names), table.embeddings, "well"))) == 5


def test_a_perturbation_whose_wells_cancel_has_the_zero_vector():
    frame = pd.DataFrame({"perturbation": ["A", "A", "n"], "is_negative_control": [False, False, True]})
    table = EmbeddingTable(frame, np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]), "well")
    assert _map(table, method="spherical").embeddings.tolist() == [[0.0, 0.0]]


def test_experiments_of_equal_names_in_two_screens_count_twice():
    found = _map(in_two_screens(make_wells(num_experiments=2)))
    assert set(found.frame["num_experiments"]) == {4}
    assert set(found.frame["num_wells"]) == {32}
