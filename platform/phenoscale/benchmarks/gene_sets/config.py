"""Benchmarks of gene sets, and look-ups in a map."""

from __future__ import annotations

from typing import Final

from phenoscale.benchmarks.benchmark import Benchmark, Input, Part
from phenoscale.benchmarks.inputs import GENE_SETS, MAP
from phenoscale.benchmarks.settings import A_MAP, SEED
from phenoscale.config import Config, Runtime, location, setting

_HERE: Final = "phenoscale.benchmarks.gene_sets"
_EFAAR: Final = "EFAAR_benchmarking 2248f40"
_SETS: Final = "gene sets: GMT, lines of name TAB genes, or a table cluster,gene; may be repeated"


class ClustersConfig(Config):
    """Cluster benchmark: are the genes of a complex more alike than a complex and the rest of the map?

    Published: two-sample Kolmogorov-Smirnov test of the cosines within a cluster and between it and all
    other genes. It has no direction and takes cosines that share vectors for independent, so it finds too
    much; the one-sided test has the direction. Calibrated: permutation, mean cosine within minus between
    against as many random genes, p = (b + 1) / (B + 1). q after Benjamini-Hochberg.
    """

    map: str = location("", help=A_MAP)
    clusters: tuple[str, ...] = location((), help=_SETS)
    min_genes: int = setting(10, ge=2, help="genes of a cluster that the map must have")
    num_null: int = setting(10_000, ge=1, help="random gene sets, shared by clusters of a size")
    threshold: float = setting(0.05, gt=0, lt=1, help="q below which a cluster counts as significant")
    num_resamples: int = setting(1000, ge=0, help="bootstrap resamples of clusters; 0: no intervals")
    seed: int = setting(0, ge=0, help=SEED)
    output: str = location("", help="Parquet file for one row per cluster; empty: none is written")
    runtime: Runtime = Runtime()


class EnrichmentConfig(Config):
    """Enrichment: which gene sets hold more of the query genes than chance?

    Hypergeometric over the genes of the map: query genes outside the map cannot be drawn, so they are counted
    as excluded. Each row's value is the p-value; its setting has the Bonferroni and Benjamini-Hochberg
    corrected ones and the Jaccard index.
    """

    map: str = location("", help=A_MAP)
    clusters: tuple[str, ...] = location((), help=_SETS)
    query: tuple[str, ...] = setting((), help="query genes, separated by commas")
    query_file: str = location("", help="text file with one query gene per line")
    min_genes: int = setting(10, ge=1, help="genes of a set that the map must have")
    max_p: float = setting(0.01, gt=0, le=1, help="rows up to this Bonferroni-corrected p; 1: all sets")
    runtime: Runtime = Runtime()


class NeighborsConfig(Config):
    """Neighbors: the perturbations of a map that are most like one of them, by signed cosine."""

    map: str = location("", help=A_MAP)
    perturbation: str = setting("", help="name of the perturbation, or of its gene")
    other: str = setting("", help="a second perturbation, whose rank is asked for")
    top: int = setting(10, ge=1, help="how many neighbors")
    runtime: Runtime = Runtime()


CLUSTERS: Final = Benchmark(
    name="clusters",
    config=ClustersConfig,
    parts=(Part(needs=(MAP, GENE_SETS), rows=f"{_HERE}.clusters:cluster_rows"),),
    cost="genes of a cluster x N D; 10,000 random sets per size",
    source=_EFAAR,
    examples=("benchmark clusters --map work/map/KEY --clusters CORUM_clusters.tsv",),
    in_suite=True,
)

ENRICHMENT: Final = Benchmark(
    name="enrichment",
    config=EnrichmentConfig,
    parts=(
        Part(
            needs=(MAP, GENE_SETS),
            uses=(Input("query", note="genes"), Input("query_file")),
            rows=f"{_HERE}.enrichment:query_rows",
        ),
    ),
    cost="one hypergeometric tail per set",
    source=_EFAAR,
    examples=("benchmark enrichment --map work/map/KEY --clusters c5.gmt --query TSC1,TSC2,MTOR",),
)

NEIGHBORS: Final = Benchmark(
    name="neighbors",
    config=NeighborsConfig,
    function=f"{_HERE}.neighbors:run_neighbors",
    parts=(Part(needs=(MAP, Input("perturbation"))),),
    cost="N D",
    source=_EFAAR,
    examples=("benchmark neighbors --map work/map/KEY --perturbation TSC2 --top 10",),
)
