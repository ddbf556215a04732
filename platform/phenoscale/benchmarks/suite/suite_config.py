"""Settings of the verbs over all benchmarks: list, suite, and the table beside published numbers."""

from __future__ import annotations

from pydantic import model_validator

from phenoscale.benchmarks.config import refuse_unusable_curve
from phenoscale.config import Config, Runtime, location, setting


class ListConfig(Config):
    """Every benchmark: what it measures, what it needs, what it costs, and where it was defined."""

    names: tuple[str, ...] = setting((), help="only these, such as recall; empty: all")
    runtime: Runtime = Runtime()


class TableConfig(Config):
    """Own rows beside published numbers of the same benchmark, source and metric.

    A published number whose setting is not that of the own rows is marked with what differs, and with what
    the own rows do not say; `facts` says it for them. Numbers of another cell type, time point or kind of
    perturbation are left out. Without rows, the published numbers are shown alone.
    """

    rows: tuple[str, ...] = location(
        (),
        help="folder or file of rows, of `benchmark`, --output of the suite, or --json > FILE.json of a "
        "benchmark; may be repeated",
    )
    benchmarks: tuple[str, ...] = setting((), help="only these, such as recall; empty: all")
    sources: tuple[str, ...] = setting((), help="only these, such as CORUM; empty: all")
    facts: dict[str, str] = setting(
        default_factory=dict, help="what the rows do not say, such as dataset=RxRx3-core"
    )
    runtime: Runtime = Runtime()


class SuiteConfig(Config):
    """Every benchmark that the given inputs allow, in one pass; what is skipped is a row that says why.

    Each input is read once, and the cosines of the map are computed once for all annotation sources, all
    tails, the pairs by number of sources, and both kinds of arms. Benchmarks run with the settings that their
    own verbs have by default; the numbers are those that the verbs give.
    """

    map: str = location("", help="map folder, or a Parquet with `perturbation` and `embedding`")
    embeddings: str = location("", help="wells: output of `embed` or `map`, or any embedding table")
    annotations: tuple[str, ...] = location((), help="CSV with entity1,entity2; may be repeated")
    genes: str = location("", help="CSV with gene and arm")
    clusters: tuple[str, ...] = location((), help="gene sets, as in `benchmark clusters`; may be repeated")
    truth: str = location("", help="truth table, as in `benchmark compound-gene`")
    links: str = location("", help="links, as in `benchmark string-recall`")
    proteins: str = location("", help="names of the proteins of the links")
    profiles: str = location("", help="glob of JUMP profile tables, as in `benchmark jump-detection`")
    output: str = location("", help="folder for rows.parquet and rows.json; empty: none is written")
    only: tuple[str, ...] = setting((), help="only these benchmarks, such as recall; empty: all")
    curve: tuple[float, ...] = setting((), help="further tails p < 0.5 of recall, each scored at (p, 1 - p)")
    seed: int = setting(0, ge=0, help="seed of everything that is drawn")
    runtime: Runtime = Runtime()

    @model_validator(mode="after")
    def _usable(self) -> SuiteConfig:
        refuse_unusable_curve(self.curve)
        return self
