"""Enrichment of query genes in gene sets: hypergeometric test over the genes of a map.

EFAAR (science.md 8.6) takes every query gene as drawn, also those that the map does not have; here the draw
is the query genes in the map, and the others are counted as excluded. P(|query & set| >= k) for N map genes,
K of them in the set, n drawn.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import hypergeom

from phenoscale.benchmarks.gene_sets.config import EnrichmentConfig
from phenoscale.benchmarks.gene_sets.set_files import GeneSets, sets_in_map
from phenoscale.benchmarks.relations.recall import under_test
from phenoscale.errors import UserError
from phenoscale.schema.maps import PerturbationMap
from phenoscale.schema.readable import readable
from phenoscale.schema.rows import Row, canonical_setting
from phenoscale.stats.p_values import q_values

VERB = "benchmark enrichment"


def query_rows(
    perturbation_map: PerturbationMap, *, clusters: Sequence[GeneSets], config: EnrichmentConfig
) -> list[Row]:
    """Enrichment of the query genes in every file of sets.

    Raises:
        UserError: no query, or what `enrichment_rows` refuses.
    """
    query = [*config.query, *(_read_query(config.query_file) if config.query_file else ())]
    if not query:
        given = f"{config.query_file} is empty" if config.query_file else "got none"
        raise UserError(f"benchmark enrichment needs query genes, but {given}; give --query or --query-file")
    map_genes = sorted(set(under_test(perturbation_map).entities.tolist()))
    return [row for sets in clusters for row in enrichment_rows(query, map_genes, sets=sets, config=config)]


def enrichment_rows(
    query: Sequence[str], map_genes: Collection[str], *, sets: GeneSets, config: EnrichmentConfig
) -> list[Row]:
    """One row per set up to the Bonferroni-corrected p, after one row that counts the sets tested.

    Raises:
        UserError: no query gene is in the map, or no set has enough genes there.
    """
    inside = sets_in_map(sets, map_genes, min_genes=config.min_genes)
    if not inside.members:
        raise UserError(
            f"no set of {sets.name} has {config.min_genes} genes in the map; use the same symbols in both, "
            "or lower --min-genes"
        )
    table = enrichment_table(query, map_genes, clusters=inside.members)
    drawn = set(query) & set(map_genes)
    excluded = len(set(query) - drawn)
    kept = table[table["bonferroni"] <= config.max_p]
    counted = Row(
        "enrichment",
        sets.name,
        "num_enriched_sets",
        canonical_setting(max_bonferroni=config.max_p, min_genes=config.min_genes, num_query=len(drawn)),
        len(kept),
        n=len(table),
        excluded=inside.num_excluded,
    )
    return [counted, *(_row(line, source=sets.name, excluded=excluded) for line in kept.to_dict("records"))]


def enrichment_table(
    query: Sequence[str], map_genes: Collection[str], *, clusters: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """Every set with its overlap, p-value, corrections and Jaccard index, the smallest p first.

    Args:
        query: genes; those outside the map are left out.
        map_genes: what could have been drawn.
        clusters: sets of genes of the map.

    Raises:
        UserError: no query gene is in the map.
    """
    universe = set(map_genes)
    drawn = set(query) & universe
    if not drawn:
        raise UserError(
            f"none of the {len(set(query))} query genes is in the map of {len(universe)} genes, but "
            "enrichment draws from the map; use the same symbols in both"
        )
    members = [drawn & set(genes) for genes in clusters.values()]
    overlap = np.array([len(common) for common in members])
    sizes = np.array([len(genes) for genes in clusters.values()])
    p = hypergeom.sf(overlap - 1, len(universe), sizes, len(drawn))
    table = pd.DataFrame(
        {
            "cluster": list(clusters),
            "num_genes": sizes,
            "overlap": overlap,
            "p": p,
            "bonferroni": np.minimum(p * len(p), 1.0),
            "q": q_values(np.asarray(p)),
            "jaccard": overlap / (sizes + len(drawn) - overlap),
            "genes": [sorted(common) for common in members],
        }
    )
    return table.sort_values(["p", "cluster"], ignore_index=True)


def _row(line: Mapping[Any, Any], *, source: str, excluded: int) -> Row:
    setting = canonical_setting(
        cluster=line["cluster"],
        overlap=int(line["overlap"]),
        bonferroni=float(line["bonferroni"]),
        q=float(line["q"]),
        jaccard=float(line["jaccard"]),
        genes=list(line["genes"]),
    )
    return Row("enrichment", source, "p", setting, line["p"], n=int(line["num_genes"]), excluded=excluded)


def _read_query(path: str) -> list[str]:
    file = Path(path)
    with readable(
        file, holds="a list of query genes", kind="readable text", way_out="write one gene per line"
    ):
        lines = file.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip()]
