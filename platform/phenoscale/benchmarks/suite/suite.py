"""`benchmark suite`: every benchmark that the inputs allow, in one pass over what they share.

A part is a benchmark with the inputs that it needs; it calls what its own verb calls. An input that is given
but cannot be read ends the suite before the first part. A part whose inputs are not given, or which refuses
them, becomes a row `skipped` with the reason: it does not end the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

from phenoscale.benchmarks.config import BatchEffectConfig, ConsistencyConfig, MoaConfig, RecallConfig
from phenoscale.benchmarks.gene_sets.clusters import cluster_rows
from phenoscale.benchmarks.gene_sets.clusters_config import ClustersConfig
from phenoscale.benchmarks.gene_sets.set_files import GeneSets, read_set_sources
from phenoscale.benchmarks.profiles.jump import detection_rows, sibling_rows
from phenoscale.benchmarks.profiles.jump_config import (
    ActivityConfig,
    JumpDetectionConfig,
    JumpSiblingsConfig,
    PercentReplicatingConfig,
    PhenotypicConsistencyConfig,
)
from phenoscale.benchmarks.profiles.phenotypic import (
    run_activity,
    run_percent_replicating,
    run_phenotypic_consistency,
)
from phenoscale.benchmarks.profiles.profile_tables import Profiles, read_profiles
from phenoscale.benchmarks.relations.annotations import AnnotationSource, by_number_of_sources, read_sources
from phenoscale.benchmarks.relations.compound_gene import compound_gene_rows
from phenoscale.benchmarks.relations.compound_truth import CompoundTruth, read_compound_truth
from phenoscale.benchmarks.relations.proximity import proximity_rows
from phenoscale.benchmarks.relations.proximity_config import ProximityConfig
from phenoscale.benchmarks.relations.recall import Bootstrap, recall_rows
from phenoscale.benchmarks.relations.recall_null import Permutations, recall_p_values
from phenoscale.benchmarks.relations.relations_config import CompoundGeneConfig, StringRecallConfig
from phenoscale.benchmarks.relations.string_fpr import run_string_recall
from phenoscale.benchmarks.relations.string_links import link_columns
from phenoscale.benchmarks.stage import run_moa
from phenoscale.benchmarks.suite.suite_config import SuiteConfig
from phenoscale.benchmarks.wells.batch_effect import arm_row, well_rows
from phenoscale.benchmarks.wells.consistency import consistency_rows
from phenoscale.benchmarks.wells.control_fit import control_fit
from phenoscale.benchmarks.wells.magnitude import signal_magnitude_rows
from phenoscale.benchmarks.wells.signal import signal_consistency_rows
from phenoscale.benchmarks.wells.signal_config import SignalConsistencyConfig, SignalMagnitudeConfig
from phenoscale.errors import UserError
from phenoscale.logs import get_logger
from phenoscale.mapping.genes import arm_lookup, read_genes
from phenoscale.schema.embeddings import EmbeddingTable, read_embeddings, table_of_level
from phenoscale.schema.maps import PerturbationMap, read_map
from phenoscale.schema.rows import Row, RowTable, canonical_setting, write_rows
from phenoscale.stages import Observer, ignore
from phenoscale.storage import check_output_folder

SKIPPED: Final = "skipped"
_LACKS: Final = "needs --"

logger = get_logger(__name__)


@dataclass(frozen=True)
class Inputs:
    """The given inputs; each is read when a part first asks for it, and once."""

    config: SuiteConfig

    @property
    def seed(self) -> int:
        """Of everything that is drawn."""
        return self.config.seed

    @cached_property
    def map(self) -> PerturbationMap:
        """The map."""
        return read_map(self.config.map)

    @cached_property
    def wells(self) -> EmbeddingTable:
        """The wells."""
        return read_embeddings(self.well_place)

    @cached_property
    def well_place(self) -> Path:
        """Where the wells are."""
        return Path(table_of_level(self.config.embeddings, level="well"))

    @cached_property
    def sources(self) -> list[AnnotationSource]:
        """The annotation sources."""
        return read_sources(self.config.annotations)

    @cached_property
    def arms(self) -> dict[str, str] | None:
        """The arm of each gene, None where it is not given."""
        return arm_lookup(read_genes(self.config.genes, columns=("arm",))) if self.config.genes else None

    @cached_property
    def sets(self) -> list[GeneSets]:
        """The gene sets."""
        return read_set_sources(self.config.clusters)

    @cached_property
    def truth(self) -> CompoundTruth:
        """Which compounds act on which genes."""
        return read_compound_truth(self.config.truth)

    @cached_property
    def profiles(self) -> Profiles:
        """The JUMP profiles."""
        return read_profiles(self.config.profiles)

    def link_columns(self) -> tuple[str, ...]:
        """The columns of the links; the links themselves are read for the genes of each part of a map."""
        return link_columns(self.config.links, proteins=self.config.proteins)


@dataclass(frozen=True)
class Part:
    """A benchmark of the suite.

    Attributes:
        verb: its name, as in `benchmark NAME`.
        needs: the inputs without which it is skipped.
        run: makes its rows.
        uses: further inputs that it reads where they are given.
    """

    verb: str
    needs: tuple[str, ...]
    run: Callable[[Inputs], Iterable[Row]]
    uses: tuple[str, ...] = ()


def _recall(inputs: Inputs) -> list[Row]:
    own = RecallConfig()
    sources = list(inputs.sources)
    if len(sources) > 1:
        sources += by_number_of_sources(inputs.sources)
    tails = [(own.lower, own.upper), *((tail, 1 - tail) for tail in inputs.config.curve)]
    return recall_rows(
        inputs.map,
        sources=sources,
        tails=list(dict.fromkeys(tails)),
        arms=inputs.arms,
        bootstrap=Bootstrap(own.num_resamples, inputs.seed),
    )


def _recall_null(inputs: Inputs) -> list[Row]:
    permutations = Permutations(seed=inputs.seed)
    return recall_p_values(inputs.map, sources=inputs.sources, arms=inputs.arms, permutations=permutations)


def _clusters(inputs: Inputs) -> list[Row]:
    return cluster_rows(inputs.map, sets=inputs.sets, config=ClustersConfig(seed=inputs.seed))


def _proximity(inputs: Inputs) -> list[Row]:
    return proximity_rows(inputs.map, inputs.arms or {}, config=ProximityConfig(seed=inputs.seed))


def _arm(inputs: Inputs) -> list[Row]:
    return [arm_row(inputs.map, inputs.arms or {}, config=BatchEffectConfig(seed=inputs.seed))]


def _compound_gene(inputs: Inputs) -> list[Row]:
    return compound_gene_rows(inputs.map, inputs.truth, config=CompoundGeneConfig(seed=inputs.seed))


def _string_recall(inputs: Inputs) -> list[Row]:
    given = inputs.config
    return run_string_recall(
        StringRecallConfig(map=given.map, links=given.links, proteins=given.proteins, seed=given.seed)
    )


def _consistency(inputs: Inputs) -> list[Row]:
    return consistency_rows(inputs.wells, config=ConsistencyConfig(seed=inputs.seed))


def _signal(inputs: Inputs) -> list[Row]:
    return signal_consistency_rows(inputs.wells, config=SignalConsistencyConfig(seed=inputs.seed))


def _magnitude(inputs: Inputs) -> list[Row]:
    fit = control_fit(inputs.well_place, verb="benchmark signal-magnitude")
    return signal_magnitude_rows(inputs.wells, config=SignalMagnitudeConfig(seed=inputs.seed), settings=fit)


def _batch_effect(inputs: Inputs) -> list[Row]:
    return well_rows(inputs.wells, config=BatchEffectConfig(seed=inputs.seed))


def _moa(inputs: Inputs) -> list[Row]:
    return run_moa(MoaConfig(embeddings=inputs.config.embeddings, seed=inputs.seed))


def _activity(inputs: Inputs) -> list[Row]:
    return run_activity(ActivityConfig(profiles=str(inputs.well_place), seed=inputs.seed))


def _phenotypic_consistency(inputs: Inputs) -> list[Row]:
    config = PhenotypicConsistencyConfig(profiles=str(inputs.well_place), seed=inputs.seed)
    return run_phenotypic_consistency(config)


def _replicating(inputs: Inputs) -> list[Row]:
    config = PercentReplicatingConfig(profiles=str(inputs.well_place), seed=inputs.seed)
    return run_percent_replicating(config)


def _detection(inputs: Inputs) -> list[Row]:
    return detection_rows(inputs.profiles, config=JumpDetectionConfig(seed=inputs.seed))


def _siblings(inputs: Inputs) -> list[Row]:
    return sibling_rows(inputs.profiles, config=JumpSiblingsConfig(seed=inputs.seed))


PARTS: Final = (
    Part("recall", ("map", "annotations"), _recall, uses=("genes",)),
    Part("recall-null", ("map", "annotations"), _recall_null, uses=("genes",)),
    Part("clusters", ("map", "clusters"), _clusters),
    Part("proximity", ("map", "genes"), _proximity),
    Part("batch-effect", ("map", "genes"), _arm),
    Part("compound-gene", ("map", "truth"), _compound_gene),
    Part("string-recall", ("map", "links"), _string_recall, uses=("genes",)),
    Part("consistency", ("embeddings",), _consistency),
    Part("signal-consistency", ("embeddings",), _signal),
    Part("signal-magnitude", ("embeddings",), _magnitude),
    Part("batch-effect", ("embeddings",), _batch_effect),
    Part("moa", ("embeddings",), _moa),
    Part("phenotypic-activity", ("embeddings",), _activity),
    Part("phenotypic-consistency", ("embeddings",), _phenotypic_consistency),
    Part("percent-replicating", ("embeddings",), _replicating),
    Part("jump-detection", ("profiles",), _detection),
    Part("jump-siblings", ("profiles",), _siblings),
)


READERS: Final[Mapping[str, Callable[[Inputs], object]]] = {
    "map": lambda inputs: inputs.map,
    "embeddings": lambda inputs: inputs.wells,
    "annotations": lambda inputs: inputs.sources,
    "genes": lambda inputs: inputs.arms,
    "clusters": lambda inputs: inputs.sets,
    "truth": lambda inputs: inputs.truth,
    "links": lambda inputs: inputs.link_columns(),
    "profiles": lambda inputs: inputs.profiles,
}
"""Each input with what reads it."""


class SuiteRows(RowTable):
    """Rows of the suite, read by a person benchmark by benchmark, with a table of what was skipped."""

    def text(self) -> str:
        """A heading per benchmark, a line per row with the settings in which the rows differ."""
        blocks = [
            "\n".join([name, *_lines([row for row in self if row.benchmark == name and not _is_skip(row)])])
            for name in dict.fromkeys(row.benchmark for row in self if not _is_skip(row))
        ]
        skips = [f"  {row.benchmark:<24} {row.settings['reason']}" for row in self if _is_skip(row)]
        return "\n\n".join([*blocks, *(["\n".join(["skipped", *skips])] if skips else [])])


def run_suite(config: SuiteConfig, *, observe: Observer = ignore) -> SuiteRows:
    """Everything that the inputs allow.

    Raises:
        UserError: no input at all, a benchmark that is not in the suite, an input that cannot be read, or
            inputs with which nothing runs.
    """
    chosen = _chosen(config)
    check_output_folder(config.output)
    inputs = Inputs(config)
    runnable = [part for part in chosen if not _missing(part, config)]
    used = {name for part in runnable for name in (*part.needs, *part.uses) if getattr(config, name)}
    for name in sorted(used, key=list(READERS).index):
        READERS[name](inputs)
    rows: list[Row] = []
    for number, part in enumerate(chosen, start=1):
        rows += _run_part(part, inputs)
        observe(number, {"num_rows": float(len(rows))})
    if all(map(_is_skip, rows)):
        raise UserError(f"no benchmark could run: {_why_none(rows)}")
    if config.output:
        write_rows(Path(config.output), rows)
    return SuiteRows(rows)


def _chosen(config: SuiteConfig) -> Sequence[Part]:
    verbs = list(dict.fromkeys(part.verb for part in PARTS))
    only = [name.replace("_", "-") for name in config.only]
    unknown = [name for name in only if name not in verbs]
    if unknown:
        raise UserError(
            f"benchmark suite has no {', '.join(unknown)}; it has {', '.join(verbs)}; give --only one of them"
        )
    if not any(getattr(config, name) for name in ("map", "embeddings", "profiles")):
        raise UserError(
            "benchmark suite needs --map, --embeddings or --profiles, got none of them; see `benchmark list` "
            "for what each benchmark needs"
        )
    return [part for part in PARTS if not only or part.verb in only]


def _missing(part: Part, config: SuiteConfig) -> list[str]:
    """The inputs that a part needs and that are not given."""
    return [name for name in part.needs if not getattr(config, name)]


def _why_none(rows: Sequence[Row]) -> str:
    """The reasons of the parts that have their inputs, each once; those of all where none has."""
    benchmarks: dict[str, list[str]] = {}
    for row in rows:
        benchmarks.setdefault(str(row.settings["reason"]), []).append(row.benchmark)
    refusals = [reason for reason in benchmarks if not reason.startswith(_LACKS)]
    return "; ".join(
        f"{', '.join(dict.fromkeys(benchmarks[reason]))}: {reason}" for reason in refusals or benchmarks
    )


def _run_part(part: Part, inputs: Inputs) -> list[Row]:
    if missing := _missing(part, inputs.config):
        return [_skipped(part, f"{_LACKS}{' and --'.join(missing)}")]
    started = time.perf_counter()
    try:
        rows = _named(part.run(inputs), part=part, inputs=inputs)
    except UserError as error:
        return [_skipped(part, str(error))]
    logger.info("%s: %d rows in %.2f s", part.verb, len(rows), time.perf_counter() - started)
    return rows


def _named(rows: Iterable[Row], *, part: Part, inputs: Inputs) -> list[Row]:
    """Rows with the encoder and the map that they speak of."""
    if "map" in part.needs:
        return [replace(row, encoder=inputs.map.encoder, map=inputs.map.digest) for row in rows]
    encoder = inputs.wells.encoder if "embeddings" in part.needs else ""
    return [replace(row, encoder=encoder) for row in rows]


def _skipped(part: Part, reason: str) -> Row:
    return Row(part.verb.replace("-", "_"), "", SKIPPED, canonical_setting(reason=reason))


def _is_skip(row: Row) -> bool:
    return row.metric == SKIPPED


def _lines(rows: Sequence[Row]) -> list[str]:
    settings = [row.settings for row in rows]
    names = dict.fromkeys(name for found in settings for name in found)
    varying = [name for name in names if len({str(found.get(name)) for found in settings}) > 1]
    lines = []
    for row, found in zip(rows, settings, strict=True):
        value = "no value" if row.value is None else f"{row.value:.4g}"
        interval = "" if row.low is None or row.high is None else f" [{row.low:.4g}, {row.high:.4g}]"
        words = [f"{name} {found[name]}" for name in varying if name in found]
        counts = f"n={row.n} excluded={row.excluded}"
        place = " ".join(filter(None, [row.source, row.metric]))
        lines.append(f"  {place:<46} {value + interval:<30} {counts:<24} {', '.join(words)}".rstrip())
    return lines
