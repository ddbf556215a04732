"""Every benchmark in one table: add a line here.

A line says where the value is and what it measures. The value is imported when it is needed, because
`phenoscale --help` reads this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from phenoscale.benchmarks.benchmark import Benchmark
from phenoscale.references import find


@dataclass(frozen=True)
class Line:
    """A line of the table.

    Attributes:
        place: "module:NAME" of the value, below this package.
        measures: in a few words, for help and list.
    """

    place: str
    measures: str

    @property
    def value(self) -> str:
        """The place in full."""
        return f"{__package__}.{self.place}"

    def load(self) -> Benchmark:
        """Import the benchmark."""
        found: Benchmark = find(self.value)
        return found


CATALOG: Final[dict[str, Line]] = {
    "recall": Line("relations.config:RECALL", "share of known relationships in the tails of all cosines"),
    "recall-null": Line("relations.config:RECALL_NULL", "whether recall is more than exchanged genes give"),
    "clusters": Line("gene_sets.config:CLUSTERS", "whether genes of a complex are more alike than others"),
    "proximity": Line(
        "relations.config:PROXIMITY", "whether genes of one chromosome arm are more alike than others"
    ),
    "consistency": Line(
        "wells.config:CONSISTENCY", "how far cosines of replicates are from those of strangers"
    ),
    "signal-consistency": Line(
        "wells.config:SIGNAL_CONSISTENCY", "perturbations whose wells are more alike than random wells"
    ),
    "signal-magnitude": Line(
        "wells.config:SIGNAL_MAGNITUDE", "energy distance of perturbations to the negative controls"
    ),
    "batch-effect": Line(
        "wells.config:BATCH_EFFECT", "how well plate, experiment, position and arm are predicted"
    ),
    "compound-gene": Line(
        "relations.config:COMPOUND_GENE", "whether compounds look like knock-outs of their genes"
    ),
    "string-recall": Line(
        "relations.config:STRING_RECALL", "recall of STRING links at a false positive rate"
    ),
    "moa": Line("wells.config:MOA", "whether the nearest other compound has the same mechanism"),
    "phenotypic-activity": Line(
        "profiles.config:ACTIVITY", "replicates against negative controls, in any table"
    ),
    "phenotypic-consistency": Line(
        "profiles.config:PHENOTYPIC_CONSISTENCY", "perturbations with a common label, in any table"
    ),
    "percent-replicating": Line(
        "profiles.config:PERCENT_REPLICATING", "groups that correlate more than random groups"
    ),
    "jump-detection": Line(
        "profiles.config:JUMP_DETECTION", "JUMP-CP: are replicates nearer to each other than to controls?"
    ),
    "jump-siblings": Line(
        "profiles.config:JUMP_SIBLINGS", "JUMP-CP: are compounds of a target, or guides of a gene, alike?"
    ),
    "jump-matching": Line(
        "profiles.config:JUMP_MATCHING", "JUMP-CP: does a compound look like a perturbation of its target?"
    ),
    "feature-regression": Line(
        "wells.config:FEATURE_REGRESSION", "how well CellProfiler features are predicted from embeddings"
    ),
    "rxrx1": Line("wells.config:RXRX1", "which siRNA a well of RxRx1 got"),
    "enrichment": Line(
        "gene_sets.config:ENRICHMENT", "gene sets that hold more of the query genes than chance"
    ),
    "neighbors": Line(
        "gene_sets.config:NEIGHBORS", "the perturbations of a map that are most like one of them"
    ),
    "annotations": Line(
        "relations.config:ANNOTATIONS_IMPORT", "import known relationships from an official file, with counts"
    ),
    "suite": Line("suite.config:SUITE", "every benchmark that the inputs allow, and why others were skipped"),
    "list": Line("suite.config:LIST", "every benchmark: its measure, needs, cost and source"),
    "table": Line("suite.config:TABLE", "own rows beside published numbers, marked where settings differ"),
}


def load_all() -> dict[str, Benchmark]:
    """Every benchmark by name, imported."""
    return {name: line.load() for name, line in CATALOG.items()}
