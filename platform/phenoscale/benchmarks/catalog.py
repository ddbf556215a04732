"""Every benchmark in one dict: what it measures, what it needs, what it costs, and who defined it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from phenoscale.benchmarks.suite_config import ListConfig
from phenoscale.errors import UserError
from phenoscale.stages import Observer, ignore

# Who defined what; science.md names the editions.
_EFAAR: Final = "EFAAR_benchmarking 2248f40"
_MAE: Final = "Kraus et al., CVPR 2024"
_JUMP: Final = "Chandrasekaran et al., Nature Methods 2024"
_OWN: Final = "this platform"


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One `benchmark` verb.

    Attributes:
        measures: in a few words.
        needs: the inputs without which it does not run.
        uses: inputs that add rows.
        cost: what the time grows with.
        source: who defined it.
        in_suite: whether `benchmark suite` runs it when its inputs are there.
    """

    measures: str
    needs: tuple[str, ...]
    uses: tuple[str, ...] = ()
    cost: str
    source: str
    in_suite: bool = False


CATALOG: Final[dict[str, Benchmark]] = {
    "recall": Benchmark(
        measures="share of known relationships in the tails of all cosines of a map",
        needs=("map", "annotations"),
        uses=("genes: within and across arms",),
        cost="N^2 D once for all sources and tails; 1000 resamples of genes",
        source=f"{_EFAAR}; {_MAE}",
        in_suite=True,
    ),
    "recall-null": Benchmark(
        measures="whether recall is more than exchanging annotated genes gives",
        needs=("map", "annotations"),
        uses=("genes: exchange inside arms",),
        cost="N^2 D once, then the pairs of a source for each permutation",
        source=_OWN,
        in_suite=True,
    ),
    "consistency": Benchmark(
        measures="how far cosines of replicates lie from those of different perturbations",
        needs=("embeddings of wells",),
        cost="pairs of replicates, at most 300 each; 200 resamples",
        source="ViTally Consistent, ICML 2025",
        in_suite=True,
    ),
    "moa": Benchmark(
        measures="nearest neighbor of another compound (and batch) has the same mechanism",
        needs=("embeddings of wells with `compound` and `moa`",),
        cost="treatments^2 D",
        source="Ljosa et al. 2013; Ando, McLean, Berndl 2017",
        in_suite=True,
    ),
    "batch-effect": Benchmark(
        measures="how well plate, experiment, position and arm are predicted",
        needs=("embeddings of wells, or map and genes",),
        cost="a cross-validated logistic regression for each target, at most 4000 wells",
        source=_OWN,
        in_suite=True,
    ),
    "list": Benchmark(
        measures="nothing: shows this list",
        needs=(),
        cost="none",
        source=_OWN,
    ),
    "table": Benchmark(
        measures="nothing: shows published numbers, beside own rows where given",
        needs=(),
        uses=("rows", "facts"),
        cost="none",
        source="the literature, each number with its citation",
    ),
}


class BenchmarkList(dict[str, Benchmark]):
    """Benchmarks that know how to be read by a person: what `benchmark list` returns."""

    def text(self) -> str:
        """A few lines per benchmark."""
        return "\n".join(_entry(name, found) for name, found in self.items())


def run_list(config: ListConfig, *, observe: Observer = ignore) -> BenchmarkList:
    """The benchmarks, or the named ones.

    Raises:
        UserError: a name that is no benchmark.
    """
    del observe  # over at once
    unknown = [name for name in config.names if name not in CATALOG]
    if unknown:
        raise UserError(
            f"there is no benchmark {', '.join(unknown)}; there are {', '.join(CATALOG)}; "
            "see `phenoscale benchmark list`"
        )
    return BenchmarkList({name: CATALOG[name] for name in config.names or CATALOG})


def _entry(name: str, found: Benchmark) -> str:
    suite = " [suite]" if found.in_suite else ""
    lines = [f"{name}{suite}: {found.measures}"]
    lines.append(f"    needs  {'; '.join(found.needs) or 'nothing'}")
    if found.uses:
        lines.append(f"    uses   {'; '.join(found.uses)}")
    return "\n".join([*lines, f"    cost   {found.cost}", f"    from   {found.source}"])
