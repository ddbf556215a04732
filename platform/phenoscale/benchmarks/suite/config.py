"""The verbs over all benchmarks: list, suite, and the table beside published numbers."""

from __future__ import annotations

from typing import Final

from pydantic import model_validator

from phenoscale.benchmarks.benchmark import Benchmark, Input, Part
from phenoscale.benchmarks.settings import A_MAP, GENE_ARMS, PAIRS, SEED, WELL_TABLE, refuse_unusable_curve
from phenoscale.config import Config, Runtime, location, setting

_OWN: Final = "this platform"


class ListConfig(Config):
    """Every benchmark with its measure, needs, cost and definition."""

    names: tuple[str, ...] = setting((), help="only these, such as recall; empty: all")
    runtime: Runtime = Runtime()


class TableConfig(Config):
    """Own rows beside published numbers of the same benchmark, source and metric.

    A published number whose setting is not that of the own rows is marked with the differences, and with the
    facts that the own rows do not state; `facts` states them. Numbers of another cell type, time point or
    kind of perturbation are left out. Without rows, the published numbers are shown alone.
    """

    rows: tuple[str, ...] = location(
        (),
        help="folder or file of rows, of `benchmark`, --output of the suite, or --json > FILE.json of a "
        "benchmark; may be repeated",
    )
    benchmarks: tuple[str, ...] = setting((), help="only these, such as recall; empty: all")
    sources: tuple[str, ...] = setting((), help="only these, such as CORUM; empty: all")
    facts: dict[str, str] = setting(
        default_factory=dict, help="facts that the rows do not state, such as dataset=RxRx3-core"
    )
    runtime: Runtime = Runtime()


class SuiteConfig(Config):
    """Every benchmark that the given inputs allow, in one pass; what is skipped is a row that says why.

    Each input is read once, and the cosines of the map are computed once for all annotation sources, all
    tails, the pairs by number of sources, and both kinds of arms. Benchmarks run with the settings that their
    own verbs have by default; the numbers are those that the verbs give.
    """

    map: str = location("", help=A_MAP)
    embeddings: str = location("", help=WELL_TABLE)
    annotations: tuple[str, ...] = location((), help=PAIRS)
    genes: str = location("", help=GENE_ARMS)
    clusters: tuple[str, ...] = location((), help="gene sets, as in `benchmark clusters`; may be repeated")
    truth: str = location("", help="truth table, as in `benchmark compound-gene`")
    links: str = location("", help="links, as in `benchmark string-recall`")
    proteins: str = location("", help="names of the proteins of the links")
    profiles: str = location("", help="glob of JUMP profile tables, as in `benchmark jump-detection`")
    output: str = location("", help="folder for rows.parquet and rows.json; empty: none is written")
    only: tuple[str, ...] = setting((), help="only these benchmarks, such as recall; empty: all")
    curve: tuple[float, ...] = setting((), help="further tails p < 0.5 of recall, each scored at (p, 1 - p)")
    seed: int = setting(0, ge=0, help=SEED)
    runtime: Runtime = Runtime()

    @model_validator(mode="after")
    def _usable(self) -> SuiteConfig:
        refuse_unusable_curve(self.curve)
        return self


SUITE: Final = Benchmark(
    name="suite",
    config=SuiteConfig,
    function="phenoscale.benchmarks.suite.suite:run_suite",
    parts=(Part(needs=(Input("map"),)), Part(needs=(Input("embeddings"),)), Part(needs=(Input("profiles"),))),
    cost="the sum of its benchmarks; inputs are read once",
    source=_OWN,
    examples=(
        "benchmark suite --map work/map/KEY --annotations CORUM.csv --genes genes.csv --output rows",
        "benchmark suite --map work/map/KEY --embeddings work/embed/KEY --json",
    ),
)

LIST: Final = Benchmark(
    name="list",
    config=ListConfig,
    function="phenoscale.benchmarks.suite.listing:run_list",
    cost="none",
    source=_OWN,
    positional=("names",),
    examples=("benchmark list", "benchmark list recall"),
)

TABLE: Final = Benchmark(
    name="table",
    config=TableConfig,
    function="phenoscale.benchmarks.published.table:run_table",
    parts=(Part(needs=(), uses=(Input("rows"), Input("facts"))),),
    cost="none",
    source="the literature, each number with its citation",
    examples=(
        "benchmark table --rows work/benchmark/KEY --facts dataset=RxRx3-core",
        "benchmark table --benchmarks recall --sources CORUM",
    ),
)
