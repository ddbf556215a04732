"""Signal consistency: equal to the cosines, nulls drawn as said, calibrated where nothing is planted."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from phenoscale.benchmarks.wells.config import SIGNAL_CONSISTENCY, SignalConsistencyConfig
from phenoscale.benchmarks.wells.signal import signal_consistency_rows
from phenoscale.cli.main import main
from phenoscale.errors import UserError
from phenoscale.schema.embeddings import EmbeddingTable, write_embeddings
from phenoscale.schema.rows import RowTable
from tests.support.well_scores import signal_p_values
from tests.support.wells import make_wells, shifted_by


def _config(**settings):
    return SignalConsistencyConfig(num_resamples=50, **{"num_null": 499, **settings})


def _with_signal(table, strength, genes=("G1", "G2")):
    directions = np.random.default_rng(8).standard_normal((len(genes), table.dimensions))
    vectors = table.embeddings.copy()
    for gene, direction in zip(genes, directions, strict=True):
        vectors[(table.frame["perturbation"] == gene).to_numpy(dtype=bool)] += strength * direction
    return table.with_embeddings(vectors)


def _slow_mean(vectors):
    return cosine_similarity(vectors)[np.tril_indices(len(vectors), -1)].mean()


def test_values_are_means_of_pairwise_cosines_and_p_values_count_random_groups():
    generator = np.random.default_rng(0)
    labels = np.array(["a"] * 3 + ["b"] * 3 + ["c"] * 2 + ["d"] + [""] * 5)
    vectors = generator.standard_normal((14, 4))
    found = signal_p_values(vectors, labels, config=_config(num_null=4000))
    assert found.names.tolist() == ["a", "b", "c", "d"]
    for index, name in enumerate("abc"):
        assert np.isclose(found.value[index], _slow_mean(vectors[labels == name]))
        size = int((labels == name).sum())
        slow = [_slow_mean(vectors[generator.permutation(9)[:size]]) for _ in range(500)]
        assert abs(found.p[index] - np.mean(np.array(slow) >= found.value[index])) < 0.09
    assert np.isnan(found.p[3]), "one well has no pair"
    assert found.p[:3].min() >= 1 / 4001


def test_null_groups_are_drawn_batch_by_batch_where_asked():
    # Wells of a batch point one way: two wells of one batch are no news, of different batches they are.
    generator = np.random.default_rng(1)
    batches = np.repeat([0, 1], 40)
    vectors = np.where(batches[:, None] == 0, [[9.0, 0]], [[0, 9.0]]) + generator.standard_normal((80, 2))
    labels = np.array([f"g{index // 2}" for index in range(80)])
    free = signal_p_values(vectors, labels, config=_config())
    matched = signal_p_values(vectors, labels, config=_config(), batches_N=batches)
    assert (free.p < 0.55).all(), "any perturbation looks alike when its wells share a batch"
    assert 0.3 < np.mean(matched.p) < 0.7
    assert np.sort(matched.p)[[10, 30]] == pytest.approx([0.25, 0.75], abs=0.25)


def test_published_nulls_are_the_perturbations_that_do_nothing():
    generator = np.random.default_rng(2)
    labels = np.repeat([f"n{index}" for index in range(9)] + ["strong", "weak"], 4)
    vectors = generator.standard_normal((44, 3))
    vectors[labels == "strong"] = [1, 2, 3]
    nothing = tuple(f"n{index}" for index in range(9))
    found = signal_p_values(
        vectors, labels, config=_config(null="control_perturbations", null_perturbations=nothing)
    )
    null = np.array([_slow_mean(vectors[labels == name]) for name in nothing])
    reached = int((null >= _slow_mean(vectors[labels == "weak"])).sum())
    assert found.published_p[-2:].tolist() == [0.0, reached / 9]
    assert found.p[-2:].tolist() == [1 / 10, (reached + 1) / 10]
    assert np.isnan(found.p[:9]).all()


def test_p_values_of_wells_without_any_effect_are_uniform():
    generator = np.random.default_rng(3)
    labels = np.repeat([f"g{index}" for index in range(400)], 4)
    found = signal_p_values(generator.standard_normal((1600, 8)), labels, config=_config(num_null=999))
    for level in (0.05, 0.2, 0.5):
        share, error = np.mean(found.p <= level), np.sqrt(level * (1 - level) / 400)
        assert abs(share - level) < 3 * error


def test_planted_signal_is_found_and_the_table_says_where(tmp_path):
    table = _with_signal(make_wells(num_genes=6, dimensions=16), 4.0)
    file = tmp_path / "perturbations.parquet"
    rows = signal_consistency_rows(table, config=_config(output=str(file)))
    values = {row.metric: row for row in rows}
    assert set(values) == {"fraction_p", "fraction_q", "median_mean_cosine"}
    assert 2 / 6 <= values["fraction_q"].value <= 3 / 6
    assert values["fraction_q"].n == 6 and values["fraction_q"].seed == 0
    assert values["fraction_q"].low <= values["fraction_q"].value <= values["fraction_q"].high
    assert values["fraction_p"].settings["null"] == "random_wells"
    written = pd.read_parquet(file).set_index("perturbation")
    assert set(written.index[written["q"] < 0.05]) >= {"G1", "G2"}
    assert np.isclose(written["mean_cosine"].median(), values["median_mean_cosine"].value)
    assert (written["num_wells"] == 16).all()


def test_unexpressed_genes_of_a_table_are_the_published_null(tmp_path):
    table = _with_signal(make_wells(num_genes=8, dimensions=16), 4.0)
    genes = pd.DataFrame({"gene": [f"G{n}" for n in range(1, 9)], "zfpkm": [1.0, 0.5] + [-3.5] * 6})
    genes.to_csv(tmp_path / "genes.csv", index=False)
    config = _config(null="control_perturbations", genes=str(tmp_path / "genes.csv"))
    values = {row.metric: row for row in signal_consistency_rows(table, config=config)}
    assert values["fraction_published_p"].value == 1.0
    assert values["fraction_p"].value == 0.0, "1 / 7 is the smallest p of six null perturbations"
    assert values["fraction_p"].n == 2 and values["fraction_p"].settings["num_null"] == 6
    with pytest.raises(UserError, match="do nothing, got none"):
        signal_consistency_rows(table, config=_config(null="control_perturbations"))
    with pytest.raises(UserError, match="none of the perturbations that do nothing"):
        config = _config(null="control_perturbations", null_perturbations=("absent",))
        signal_consistency_rows(table, config=config)


def test_cell_types_and_concentrations_are_not_mixed():
    table = make_wells(num_genes=6)
    frame = table.frame.assign(
        cell_type=np.where(table.frame["experiment"] == "e1", "A549", "U2OS"),
        concentration_um=np.where(table.frame["plate"] == "p1", 1.0, 10.0),
    )
    rows = signal_consistency_rows(EmbeddingTable(frame, table.embeddings, "well"), config=_config())
    assert [row.settings["cell_type"] for row in rows] == ["A549"] * 3 + ["U2OS"] * 3
    assert {row.n for row in rows} == {12}


def test_matching_plates_takes_a_shift_of_plates_out_of_the_answer():
    # one perturbation per plate: every one looks consistent until plates are matched
    table = shifted_by(make_wells(num_genes=1, replicates=20), ["experiment", "plate"], length=50)
    names = table.frame["experiment"] + table.frame["plate"] + (np.arange(len(table)) % 2).astype(str)
    named = table.frame.assign(perturbation=names.where(~table.frame["is_negative_control"], "neg"))
    shifted = EmbeddingTable(named, table.embeddings, "well")
    free = {row.metric: row.value for row in signal_consistency_rows(shifted, config=_config())}
    matched = {
        row.metric: row.value for row in signal_consistency_rows(shifted, config=_config(match="plate"))
    }
    assert free["fraction_q"] == 1.0
    assert matched["fraction_q"] == 0.0


def test_zero_vectors_are_counted_and_left_out():
    table = make_wells(num_genes=3)
    vectors = table.embeddings.copy()
    vectors[np.flatnonzero(table.frame["perturbation"] == "G1")[:3]] = 0
    rows = signal_consistency_rows(table.with_embeddings(vectors), config=_config())
    assert {row.settings["zero_wells"] for row in rows} == {3}


def test_one_replicate_is_an_exclusion_and_only_such_an_error():
    table = make_wells(num_experiments=1, num_plates=1, num_genes=4, replicates=2)
    single = table.select(~table.frame.duplicated("perturbation").to_numpy())
    with pytest.raises(UserError, match="no perturbation has 2 wells"):
        signal_consistency_rows(single, config=_config())
    fewer = table.select(
        ~(table.frame["perturbation"] == "G1").to_numpy()
        | (np.arange(len(table)) == np.flatnonzero(table.frame["perturbation"] == "G1")[0])
    )
    assert {row.excluded for row in signal_consistency_rows(fewer, config=_config())} == {1}


def test_the_verb_reads_wells_and_answers_rows(tmp_path, capsys):
    write_embeddings(tmp_path / "run" / "wells", make_wells())
    rows = SIGNAL_CONSISTENCY.run(_config(embeddings=str(tmp_path / "run")))
    assert isinstance(rows, RowTable) and rows[0].encoder == "test"
    line = ["benchmark", "signal-consistency", "--embeddings", str(tmp_path / "run"), "--num-null", "499"]
    assert main([*line, "--num-resamples", "50", "--json"]) == 0
    answered = json.loads(capsys.readouterr().out)
    assert [entry["value"] for entry in answered] == [row.value for row in rows]
