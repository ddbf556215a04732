"""Replicate consistency: pairs and null are drawn as said, noise gives nothing, signal much."""

import numpy as np
import pytest
from scipy.stats import cramervonmises_2samp, ks_2samp

from phenoscale.benchmarks.wells.config import ConsistencyConfig
from phenoscale.benchmarks.wells.consistency import consistency_rows, draw_pairs, find_replicates
from phenoscale.errors import UserError
from phenoscale.schema.embeddings import EmbeddingTable
from tests.support.wells import in_two_screens, make_wells, shifted_by


def _with_signal(table, strength):
    codes = table.frame.groupby("perturbation").ngroup().to_numpy()
    directions = np.random.default_rng(8).standard_normal((codes.max() + 1, table.dimensions))
    return table.with_embeddings(table.embeddings + strength * directions[codes])


def _values(table, **settings):
    rows = consistency_rows(table, config=ConsistencyConfig(num_resamples=20, **settings))
    return {row.metric: row for row in rows}


def test_pairs_are_all_pairs_of_replicates_and_each_null_pair_crosses_perturbations():
    table = make_wells(num_genes=5, replicates=4)
    replicates = find_replicates(table, replicate="well", across="any")
    pairs = draw_pairs(replicates, limit=10**6, generator=np.random.default_rng(0))
    assert len(pairs.same) == len(pairs.different) == 5 * (16 * 15 // 2)
    gram = replicates.units @ replicates.units.T
    same = replicates.perturbation[:, None] == replicates.perturbation[None, :]
    assert np.allclose(np.sort(pairs.same), np.sort(gram[np.triu(same, 1)]))
    assert np.isin(np.round(pairs.different, 10), np.round(gram[~same], 10)).all()
    assert replicates.num_dropped == table.frame["is_negative_control"].sum()


@pytest.mark.parametrize("across", ["plate", "experiment"])
def test_across_batches_no_pair_and_no_null_pair_is_within_one(across):
    # A huge shift of each batch: any pair inside a batch would have a cosine near 1.
    columns = ["experiment"] if across == "experiment" else ["experiment", "plate"]
    table = shifted_by(make_wells(dimensions=40), columns, length=1000)
    replicates = find_replicates(table, replicate="well", across=across)
    pairs = draw_pairs(replicates, limit=10**6, generator=np.random.default_rng(0))
    assert len(pairs.same) > 100
    assert max(pairs.same.max(), pairs.different.max()) < 0.9


def test_the_pooled_statistics_are_those_of_scipy():
    table = _with_signal(make_wells(), 1.0)
    found = _values(table)
    replicates = find_replicates(table, replicate="well", across="any")
    pairs = draw_pairs(replicates, limit=300, generator=np.random.default_rng(0))
    assert np.isclose(
        found["ks_pooled"].value, ks_2samp(pairs.same, pairs.different, method="asymp").statistic
    )
    expected = cramervonmises_2samp(pairs.same, pairs.different, method="asymptotic").statistic
    assert np.isclose(found["cvm_pooled"].value, expected)


def test_signal_is_consistent_and_noise_is_not():
    noise, signal = make_wells(dimensions=20), _with_signal(make_wells(dimensions=20), 2.0)
    assert _values(noise)["ks_pooled"].value < 0.1
    assert _values(signal)["ks_pooled"].value > 0.9
    assert _values(signal)["ks_mean"].value > 0.9
    # n = m = 120 pairs a perturbation: the largest possible T is n m / (n + m) / 3 = 20.
    assert 15 < _values(signal)["cvm_mean"].value <= 20


def test_every_row_says_its_sample_sizes_and_holds_its_value():
    found = _values(_with_signal(make_wells(), 1.0), max_pairs=500)
    assert found["ks_pooled"].settings["n"] == found["ks_pooled"].settings["m"] == found["ks_pooled"].n == 500
    assert found["ks_pooled"].excluded == 6 * 120 - 500
    assert found["ks_mean"].settings["n"] == [120, 120]
    assert found["ks_mean"].n == 6
    for row in found.values():
        assert row.low <= row.value <= row.high


def test_null_pairs_stay_inside_a_cell_type_and_take_no_other_dose_of_the_same_compound():
    table = make_wells(num_genes=4, dimensions=24)
    doses = np.random.default_rng(2).choice([1.0, 10.0], len(table))
    cells = np.where(table.frame["plate"] == "p1", "A549", "U2OS")
    frame = table.frame.assign(concentration_um=doses, cell_type=cells)
    # cell types are far apart, compounds are far apart, doses are not
    codes = frame.groupby(["cell_type", "perturbation"]).ngroup().to_numpy()
    centers = 50 * np.random.default_rng(3).standard_normal((codes.max() + 1, 24))
    replicates = find_replicates(
        EmbeddingTable(frame, table.embeddings + centers[codes], "well"), replicate="well", across="any"
    )
    pairs = draw_pairs(replicates, limit=10**6, generator=np.random.default_rng(0))
    assert len(np.unique(pairs.perturbation)) == 4 * 2 * 2
    assert pairs.num_without_null == 0
    assert pairs.same.min() > 0.99
    gram, stratum, label = replicates.units @ replicates.units.T, replicates.stratum, replicates.label
    allowed = (stratum[:, None] == stratum[None, :]) & (label[:, None] != label[None, :])
    assert np.isin(np.round(pairs.different, 10), np.round(gram[allowed], 10)).all()


def test_fixed_sizes_leave_out_perturbations_with_fewer_pairs():
    table = make_wells()
    fewer = np.flatnonzero(table.frame["perturbation"] == "G1")[4:]
    kept = table.select(np.setdiff1d(np.arange(len(table)), fewer))
    found = _values(kept, max_pairs_per_perturbation=50, min_pairs_per_perturbation=50)
    assert found["ks_mean"].settings["n"] == found["ks_mean"].settings["m"] == [50, 50]
    assert (found["ks_mean"].n, found["ks_mean"].excluded) == (5, 1)


def test_zero_vectors_are_left_out_and_counted():
    table = make_wells()
    vectors = table.embeddings.copy()
    vectors[np.flatnonzero(table.frame["perturbation"] == "G1")[:5]] = 0
    found = _values(table.with_embeddings(vectors))
    assert found["ks_pooled"].settings["zero_vectors"] == 5
    assert found["ks_mean"].settings["n"] == [11 * 10 // 2, 120]


def test_guides_are_replicates_as_means_of_their_wells():
    table = _with_signal(make_wells(), 1.0)
    replicates = find_replicates(table, replicate="guide", across="any")
    assert len(replicates.units) == 12
    rows = (table.frame["guide"] == "G1_1").to_numpy(dtype=bool)
    mean = table.embeddings[rows].mean(axis=0)
    gaps = np.linalg.norm(replicates.units - mean / np.linalg.norm(mean), axis=1)
    assert gaps.min() < 1e-12


def test_one_replicate_of_each_perturbation_is_refused():
    table = make_wells(num_experiments=1, num_plates=1, replicates=1)
    with pytest.raises(UserError, match="no perturbation has two wells"):
        consistency_rows(table, config=ConsistencyConfig())
    bare = EmbeddingTable(table.frame.drop(columns="guide"), table.embeddings, "well")
    with pytest.raises(UserError, match="no `guide` column"):
        consistency_rows(bare, config=ConsistencyConfig(replicate="guide"))


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0, 5.0])
@pytest.mark.parametrize("seed", [0, 3, 7, 8])
def test_intervals_hold_the_value_without_an_effect_and_with_a_strong_one(strength, seed):
    sizes = {"num_experiments": 1, "num_plates": 4, "num_genes": 20, "num_controls": 20, "replicates": 1}
    table = _with_signal(make_wells(dimensions=20, seed=seed, **sizes), strength)
    for row in consistency_rows(table, config=ConsistencyConfig(num_resamples=100, seed=seed)):
        assert 0 <= row.low <= row.value <= row.high, row
        assert row.high <= 1 or row.metric.startswith("cvm")
        assert row.metric.endswith("mean") or row.settings["interval"] == "perturbations, centered"


def test_more_pairs_wanted_than_are_kept_is_refused():
    with pytest.raises(UserError, match=r"min_pairs_per_perturbation is 500 and max_pairs_per_perturb.* 10"):
        ConsistencyConfig(min_pairs_per_perturbation=500, max_pairs_per_perturbation=10)


def test_replicates_in_equally_named_experiments_of_two_screens_are_across_experiments():
    table = make_wells(num_experiments=1, num_plates=1, num_genes=5, replicates=2)
    with pytest.raises(UserError, match="no perturbation has two wells to compare"):
        consistency_rows(table, config=ConsistencyConfig(across="experiment"))
    found = find_replicates(in_two_screens(table), replicate="well", across="experiment")
    pairs = draw_pairs(found, limit=100, generator=np.random.default_rng(0))
    assert len(pairs.same) == 5 * 2 * 2
