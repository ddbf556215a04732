"""Enrichment: counted over all draws, genes outside the map do not count, corrections as defined."""

import json
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from phenoscale.benchmarks.gene_sets.config import ENRICHMENT, EnrichmentConfig
from phenoscale.benchmarks.gene_sets.enrichment import enrichment_rows, enrichment_table
from phenoscale.benchmarks.gene_sets.set_files import GeneSets
from phenoscale.cli.main import main
from phenoscale.errors import UserError
from phenoscale.schema.maps import PerturbationMap, write_bare_map

_GENES = [f"g{n}" for n in range(9)]
_SETS = {"first": ("g0", "g1", "g2"), "other": ("g3", "g4", "g5", "g6")}


def test_p_values_are_shares_of_all_draws_that_hold_as_many():
    table = enrichment_table(["g0", "g1", "g3"], _GENES, clusters=_SETS).set_index("cluster")
    draws = list(combinations(_GENES, 3))
    for name, genes in _SETS.items():
        reached = len({"g0", "g1", "g3"} & set(genes))
        slow = np.mean([len(set(draw) & set(genes)) >= reached for draw in draws])
        assert np.isclose(table.loc[name, "p"], slow)
        union = {"g0", "g1", "g3"} | set(genes)
        assert np.isclose(table.loc[name, "jaccard"], reached / len(union))
    assert np.allclose(table["bonferroni"], np.minimum(2 * table["p"], 1))
    ranked = table["p"].to_numpy()
    assert np.allclose(table["q"], [min(2 * ranked[0], ranked[1]), ranked[1]])


def test_query_genes_outside_the_map_change_nothing_but_the_count():
    query = ["g0", "g1", "g3"]
    alone = enrichment_table(query, _GENES, clusters=_SETS)
    with_others = enrichment_table([*query, "x1", "x2", "g0"], _GENES, clusters=_SETS)
    pd.testing.assert_frame_equal(alone, with_others)
    config = EnrichmentConfig(min_genes=2, max_p=1.0)
    rows = enrichment_rows([*query, "x1", "x2"], _GENES, sets=GeneSets("mine", _SETS), config=config)
    assert [row.metric for row in rows] == ["num_enriched_sets", "p", "p"]
    assert rows[1].excluded == 2
    assert rows[1].settings["genes"] == ["g0", "g1"]
    assert rows[0].settings["num_query"] == 3


def test_only_sets_below_the_corrected_threshold_are_rows():
    genes = [f"g{n}" for n in range(200)]
    sets = GeneSets("mine", {f"s{n}": tuple(genes[10 * n : 10 * n + 10]) for n in range(20)})
    rows = enrichment_rows([*genes[:10], "g55"], genes, sets=sets, config=EnrichmentConfig())
    assert [row.settings.get("cluster") for row in rows] == [None, "s0"]
    assert (rows[0].value, rows[0].n) == (1.0, 20)


def test_queries_and_sets_outside_the_map_are_refused():
    sets = GeneSets("mine", _SETS)
    config = EnrichmentConfig(min_genes=2)
    with pytest.raises(UserError, match="none of the 1 query genes"):
        enrichment_rows(["x"], _GENES, sets=sets, config=config)
    with pytest.raises(UserError, match="no set of mine has 10 genes"):
        enrichment_rows(["g1"], _GENES, sets=sets, config=EnrichmentConfig())


def test_the_verb_reads_queries_from_flags_and_a_file(tmp_path, capsys):
    vectors = np.random.default_rng(0).standard_normal((9, 3))
    write_bare_map(tmp_path / "map.parquet", PerturbationMap(pd.DataFrame({"perturbation": _GENES}), vectors))
    (tmp_path / "mine.gmt").write_text(
        "".join("\t".join([name, "", *genes]) + "\n" for name, genes in _SETS.items())
    )
    (tmp_path / "query.txt").write_text("g0\ng1\n\n")
    paths = {"map": str(tmp_path / "map.parquet"), "clusters": (str(tmp_path / "mine.gmt"),)}
    rows = ENRICHMENT.run(EnrichmentConfig(**paths, query=("g0", "g1"), min_genes=2, max_p=1.0))
    line = [
        "benchmark",
        "enrichment",
        "--map",
        paths["map"],
        "--clusters",
        paths["clusters"][0],
        "--max-p",
        "1",
    ]
    assert main([*line, "--query-file", str(tmp_path / "query.txt"), "--min-genes", "2", "--json"]) == 0
    assert [entry["value"] for entry in json.loads(capsys.readouterr().out)] == [row.value for row in rows]
    with pytest.raises(UserError, match="got none; give --query or --query-file"):
        ENRICHMENT.run(EnrichmentConfig(**paths))
    with pytest.raises(UserError, match="does not exist"):
        ENRICHMENT.run(EnrichmentConfig(**paths, query_file=str(tmp_path / "none.txt")))
