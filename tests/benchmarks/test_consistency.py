"""Replicate consistency: pairs and null are drawn as said, noise gives nothing, signal much."""

import numpy as np
import pytest
from scipy.stats import cramervonmises_2samp, ks_2samp

from phenoscale.benchmarks.config import ConsistencyConfig
from phenoscale.benchmarks.consistency import consistency_rows, draw_pairs, find_replicates
from phenoscale.errors import UserError
from phenoscale.schema.embeddings import EmbeddingTable
from tests.support.wells import make_wells, shifted_by


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
        assert row.low <= row.value <= row.high or row.metric.endswith("pooled")


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
