"""Every benchmark in one dict: what it measures, what it needs, what it costs, and who defined it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from phenoscale.benchmarks.suite.suite_config import ListConfig
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
    "proximity": Benchmark(
        measures="whether genes of one chromosome arm are more similar than others",
        needs=("map", "genes with arm"),
        cost="20,000 pairs inside arms and as many across; 200 resamples of genes",
        source="proxbias; science.md 6.4",
        in_suite=True,
    ),
    "clusters": Benchmark(
        measures="whether genes of a complex are more alike than a complex and the rest",
        needs=("map", "clusters"),
        cost="genes of a cluster x N D; 10,000 random sets per size",
        source=_EFAAR,
        in_suite=True,
    ),
    "enrichment": Benchmark(
        measures="gene sets that hold more of a query than chance",
        needs=("map", "clusters", "query genes"),
        cost="one hypergeometric tail per set",
        source=_EFAAR,
    ),
    "neighbors": Benchmark(
        measures="the perturbations most like one",
        needs=("map", "a perturbation"),
        cost="N D",
        source=_EFAAR,
    ),
    "signal-consistency": Benchmark(
        measures="perturbations whose wells are more alike than random wells",
        needs=("embeddings of wells",),
        uses=("genes with zfpkm: the published null",),
        cost="wells x D, and 10,000 random groups per number of wells",
        source=_EFAAR,
        in_suite=True,
    ),
    "signal-magnitude": Benchmark(
        measures="energy distance of the wells of a perturbation to negative controls",
        needs=("embeddings of wells with negative controls",),
        uses=("genes with zfpkm: the published null",),
        cost="wells x 1000 controls x D, and 1000 subsets of controls per number of wells",
        source=_EFAAR,
        in_suite=True,
    ),
    "compound-gene": Benchmark(
        measures="whether compounds look like knock-outs of their genes",
        needs=("map of genes and compounds by concentration", "truth table"),
        cost="compounds x concentrations x genes x D; 100 draws of negatives",
        source="EFAAR_benchmarking with RxRx3-core; Kraus et al. 2025",
        in_suite=True,
    ),
    "string-recall": Benchmark(
        measures="recall of STRING links at 5 % false positives in a gene list",
        needs=("map", "links of STRING"),
        uses=("proteins", "list of genes"),
        cost="all pairs of the list ranked; 200 resamples of genes",
        source=f"{_MAE}; cp-posh",
        in_suite=True,
    ),
    "feature-regression": Benchmark(
        measures="how well CellProfiler features are read from embeddings",
        needs=("embeddings of wells", "profiles", "two experiments"),
        cost="an elastic net of 500 strengths and 5 folds per feature, Gram matrices shared",
        source=f"{_MAE}, A.6",
    ),
    "rxrx1": Benchmark(
        measures="which siRNA a well got, with and without batch correction",
        needs=("embeddings of RxRx1 wells",),
        uses=("metadata of RxRx1",),
        cost="multinomial regression of 1,139 classes",
        source="RxRx1; WILDS",
    ),
    "jump-detection": Benchmark(
        measures="whether replicates are nearer to each other than to negative controls",
        needs=("profile tables of plates",),
        cost="wells^2 D; 100,000 random rankings per configuration",
        source=f"{_JUMP}; {_MAE}; copairs 0.5.5",
        in_suite=True,
    ),
    "jump-siblings": Benchmark(
        measures="whether compounds of a target, or guides of a gene, are alike",
        needs=("profile tables of plates",),
        uses=("targets of compounds",),
        cost="as jump-detection, then profiles^2 D",
        source=f"{_JUMP}; {_MAE}; copairs 0.5.5",
        in_suite=True,
    ),
    "jump-matching": Benchmark(
        measures="whether a compound looks like a perturbation of its target",
        needs=("compound plates", "CRISPR or ORF plates"),
        cost="as jump-siblings, for both",
        source=_JUMP,
    ),
    "phenotypic-activity": Benchmark(
        measures="replicates against negative controls, in any table",
        needs=("profiles or embeddings",),
        cost="as jump-detection",
        source="copairs 0.5.5",
        in_suite=True,
    ),
    "phenotypic-consistency": Benchmark(
        measures="perturbations with a common label against the others, in any table",
        needs=("profiles or embeddings with a label",),
        cost="profiles^2 D; 100,000 random rankings per configuration",
        source="copairs 0.5.5",
        in_suite=True,
    ),
    "percent-replicating": Benchmark(
        measures="groups whose median correlation exceeds that of random groups",
        needs=("profiles or embeddings",),
        cost="10,000 random groups per size",
        source=_JUMP,
        in_suite=True,
    ),
    "annotations": Benchmark(
        measures="nothing: makes pairs from the official file of a source",
        needs=("official file",),
        uses=("names of identifiers", "aliases", "map: overlap"),
        cost="one pass over the file",
        source="the files of CORUM, hu.MAP, Reactome, SIGNOR, STRING",
    ),
    "suite": Benchmark(
        measures="everything marked [suite] whose inputs are there",
        needs=("map, embeddings or profiles",),
        uses=("every input of its benchmarks",),
        cost="the sum of its benchmarks; inputs are read once",
        source=_OWN,
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
    names = [name.replace("_", "-") for name in config.names]
    unknown = [name for name in names if name not in CATALOG]
    if unknown:
        raise UserError(
            f"there is no benchmark {', '.join(unknown)}; there are {', '.join(CATALOG)}; "
            "see `phenoscale benchmark list`"
        )
    return BenchmarkList({name: CATALOG[name] for name in names or CATALOG})


def _entry(name: str, found: Benchmark) -> str:
    suite = " [suite]" if found.in_suite else ""
    lines = [f"{name}{suite}: {found.measures}"]
    lines.append(f"    needs  {'; '.join(found.needs) or 'nothing'}")
    if found.uses:
        lines.append(f"    uses   {'; '.join(found.uses)}")
    return "\n".join([*lines, f"    cost   {found.cost}", f"    from   {found.source}"])
