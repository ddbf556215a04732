"""Cluster benchmark: scipy's KS on slow cosines, permutation by slow sets, direction, real complexes."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp
from sklearn.metrics.pairwise import cosine_similarity

from phenoscale.benchmarks.gene_sets.clusters import cluster_p_values, cluster_rows
from phenoscale.benchmarks.gene_sets.config import CLUSTERS, ClustersConfig
from phenoscale.benchmarks.gene_sets.set_files import GeneSets, read_gene_sets
from phenoscale.cli.main import main
from phenoscale.errors import UserError
from phenoscale.schema.maps import PerturbationMap, write_bare_map
from tests.support.real_data import find_real_data


def _config(**settings):
    return ClustersConfig(num_resamples=50, **{"num_null": 499, **settings})


def _map(num_genes=80, *, dimensions=16, seed=0):
    """Genes g0 ... share a direction; the first 12 another one too, the next 12 hardly any."""
    vectors = np.random.default_rng(seed).standard_normal((num_genes, dimensions))
    vectors[12:24] *= 3
    vectors[:, 0] += 4
    vectors[:12, 1] += 4
    return PerturbationMap(pd.DataFrame({"perturbation": [f"g{n}" for n in range(num_genes)]}), vectors)


_SETS = {
    "alike": tuple(f"g{n}" for n in range(12)),
    "apart": tuple(f"g{n}" for n in range(12, 24)),
    "random": tuple(f"g{n}" for n in range(30, 45)),
    "small": ("g1", "g2"),
    "absent": tuple(f"x{n}" for n in range(30)),
}


def _table(found, **settings):
    sets = {name: genes for name, genes in _SETS.items() if name not in ("small", "absent")}
    config = _config(**settings)
    return cluster_p_values(found.entities, found.embeddings, clusters=sets, config=config).set_index(
        "cluster"
    )


def test_ks_is_that_of_scipy_on_cosines_within_and_between():
    found = _map()
    table, cosines = _table(found), cosine_similarity(found.embeddings)
    for name in table.index:
        rows = np.array([int(gene[1:]) for gene in _SETS[name]])
        others = np.setdiff1d(np.arange(len(found)), rows)
        within = cosines[np.ix_(rows, rows)][np.triu_indices(len(rows), 1)]
        between = cosines[np.ix_(rows, others)].ravel()
        expected = ks_2samp(within, between)
        assert np.isclose(table.loc[name, "ks_statistic"], expected.statistic)
        assert np.isclose(table.loc[name, "ks_p"], expected.pvalue)
        one_sided = ks_2samp(within, between, alternative="less").pvalue
        assert np.isclose(table.loc[name, "ks_p_larger"], one_sided)
        assert np.isclose(table.loc[name, "within_mean"], within.mean())
        assert np.isclose(table.loc[name, "between_mean"], between.mean())
        assert table.loc[name, "num_other_genes"] == len(others)


def test_permutation_p_values_count_random_sets_of_the_same_size():
    found = _map(30, dimensions=5)
    sets = {"a": ("g0", "g1", "g2", "g9"), "b": ("g10", "g11", "g12", "g13", "g14", "g15")}
    config = _config(num_null=4000)
    table = cluster_p_values(found.entities, found.embeddings, clusters=sets, config=config)
    cosines, generator = cosine_similarity(found.embeddings), np.random.default_rng(0)

    def difference(rows):
        others = np.setdiff1d(np.arange(30), rows)
        within = cosines[np.ix_(rows, rows)][np.triu_indices(len(rows), 1)]
        return within.mean() - cosines[np.ix_(rows, others)].mean()

    for line, genes in zip(table.itertuples(), sets.values(), strict=True):
        rows = np.array([int(gene[1:]) for gene in genes])
        slow = np.array([difference(generator.permutation(30)[: len(rows)]) for _ in range(1000)])
        assert abs(line.permutation_p - np.mean(slow >= difference(rows) - 1e-12)) < 0.06


def test_the_sign_tells_likeness_from_repulsion():
    table = _table(_map())
    assert table["ks_sign"].to_dict()["alike"] == 1
    assert table.loc["alike", ["ks_q", "ks_q_larger", "permutation_q"]].max() < 0.01
    assert table.loc["apart", "ks_q"] < 0.05, "the two-sided test finds a set whose genes are unlike"
    assert table.loc["apart", ["ks_p_larger", "permutation_p"]].min() > 0.05


def test_permutation_p_values_of_random_sets_are_uniform_and_those_of_ks_are_not():
    # genes have more or less of one shared direction, as in a map where some hardly act
    below = {"ks_p": 0, "permutation_p": 0}
    generator = np.random.default_rng(1)
    names = np.array([f"g{n}" for n in range(100)])
    for _ in range(10):
        vectors = generator.standard_normal((100, 8))
        vectors[:, 0] += 4 * generator.uniform(0, 2, 100)
        sets = {f"s{n}": generator.permutation(names)[:12].tolist() for n in range(10)}
        table = cluster_p_values(names, vectors, clusters=sets, config=_config(num_null=199))
        for name in below:
            below[name] += int((table[name] <= 0.05).sum())
    # 100 sets at .05: 5 expected, standard error 2.2; cosines that share vectors give KS many times as many
    assert below["permutation_p"] <= 12
    assert below["ks_p"] > 14


def test_rows_count_the_sets_without_enough_genes(tmp_path):
    file = tmp_path / "clusters.parquet"
    rows = cluster_rows(_map(), clusters=[GeneSets("mine", _SETS)], config=_config(output=str(file)))
    values = {row.metric: row for row in rows}
    assert values["fraction_permutation_q"].value == pytest.approx(1 / 3)
    assert values["fraction_ks_q_larger"].source == "mine"
    assert {(row.n, row.excluded) for row in rows} == {(3, 2)}
    assert len(pd.read_parquet(file)) == 3


def test_zero_vectors_are_left_out_and_counted():
    found = _map()
    vectors = found.embeddings.copy()
    vectors[[0, 50]] = 0
    rows = cluster_rows(
        PerturbationMap(found.frame, vectors),
        clusters=[GeneSets("mine", _SETS)],
        config=_config(min_genes=12),
    )
    assert {row.settings["zero_vectors"] for row in rows} == {2}
    assert {(row.n, row.excluded) for row in rows} == {(2, 3)}, "the set of g0 has eleven genes left"
    with pytest.raises(UserError, match="2 vectors of the map are zero"):
        cluster_p_values(found.entities, vectors, clusters=_SETS, config=_config())


def test_maps_that_name_a_gene_twice_and_unknown_symbols_are_refused():
    found = _map()
    twice = PerturbationMap(found.frame.assign(gene="same"), found.embeddings)
    with pytest.raises(UserError, match="entities more than once"):
        cluster_rows(
            twice, clusters=[GeneSets("mine", {"a": ("same", "same2")})], config=_config(min_genes=2)
        )
    with pytest.raises(UserError, match="no cluster of mine has 10 genes"):
        cluster_rows(found, clusters=[GeneSets("mine", {"absent": _SETS["absent"]})], config=_config())


def test_the_verb_reads_a_map_and_a_file_of_sets(tmp_path, capsys):
    write_bare_map(tmp_path / "map.parquet", _map())
    (tmp_path / "mine.tsv").write_text(
        "".join(f"{name}\t{' '.join(genes)}\n" for name, genes in _SETS.items())
    )
    config = _config(map=str(tmp_path / "map.parquet"), clusters=(str(tmp_path / "mine.tsv"),))
    rows = CLUSTERS.run(config)
    line = [
        "benchmark",
        "clusters",
        "--map",
        config.map,
        "--clusters",
        config.clusters[0],
        "--num-null",
        "499",
    ]
    assert main([*line, "--num-resamples", "50", "--json"]) == 0
    assert [entry["value"] for entry in json.loads(capsys.readouterr().out)] == [row.value for row in rows]
    with pytest.raises(UserError, match="needs --clusters"):
        CLUSTERS.run(_config(map=config.map))


def test_the_complexes_of_corum_are_as_many_as_published():
    sets = read_gene_sets(
        find_real_data("gene_annotations") / "efaar_benchmark_annotations" / "CORUM_clusters.tsv"
    )
    assert len(sets) == 2696
    assert sum(len(genes) >= 10 for genes in sets.sets.values()) == 171
