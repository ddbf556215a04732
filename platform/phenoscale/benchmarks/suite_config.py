"""Settings of the verbs over all benchmarks: list, suite, and the table beside published numbers."""

from __future__ import annotations

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
        (), help="folder or file of rows, of `benchmark` or any of its verbs; may be repeated"
    )
    benchmarks: tuple[str, ...] = setting((), help="only these, such as recall; empty: all")
    sources: tuple[str, ...] = setting((), help="only these, such as CORUM; empty: all")
    facts: dict[str, str] = setting(
        default_factory=dict, help="what the rows do not say, such as dataset=RxRx3-core"
    )
    runtime: Runtime = Runtime()
