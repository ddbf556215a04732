"""The `benchmark` verb and its sub-verbs: read maps and embeddings, return rows.

`run_benchmark` is a stage: it scores several encoders before and after correction and writes `rows.parquet`
and `rows.json`. In its rows `encoder` is the name of the encoder, and `step` in the setting says how far the
correction had gone: `0_none`, one name per step, and `final`. The sub-verbs return their rows and write
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from phenoscale.benchmarks.config import (
    BatchEffectConfig,
    BenchmarkConfig,
    ConsistencyConfig,
    MoaConfig,
    RecallConfig,
)
from phenoscale.benchmarks.relations.annotations import AnnotationSource, by_number_of_sources, read_sources
from phenoscale.benchmarks.relations.recall import (
    Bootstrap,
    PairedDifference,
    ZeroVectors,
    paired_recall_difference,
    recall_rows,
)
from phenoscale.benchmarks.wells.batch_effect import arm_row, well_rows
from phenoscale.benchmarks.wells.consistency import consistency_rows
from phenoscale.benchmarks.wells.moa import has_mechanisms, moa_rows
from phenoscale.config import require
from phenoscale.errors import UserError
from phenoscale.logs import get_logger
from phenoscale.mapping.genes import arm_lookup, read_genes
from phenoscale.mapping.stage import CORRECTED_FOLDER, STEPS_FOLDER
from phenoscale.schema.embeddings import EmbeddingTable, read_embeddings, table_of_level
from phenoscale.schema.maps import PerturbationMap, read_map
from phenoscale.schema.rows import Row, RowTable, canonical_setting, write_rows
from phenoscale.stages import Observer, Output, StageResult, ignore, run_stage

FINAL, BEFORE = "final", "0_none"
ORACLE = "oracle"

logger = get_logger(__name__)
Tails = tuple[float, float]


def run_recall(config: RecallConfig, *, observe: Observer = ignore) -> RowTable:
    """Recall of known relationships in one map.

    Raises:
        UserError: no map, no annotations, or what `recall_rows` refuses.
    """
    del observe  # over in seconds
    perturbation_map = read_map(require(config, "map", verb="benchmark recall"))
    if not config.annotations:
        raise UserError("benchmark recall needs --annotations, got none; give a CSV with entity1,entity2")
    sources = _sources(config.annotations, recall=config)
    rows = recall_rows(
        perturbation_map,
        sources=sources,
        tails=_tails(config),
        arms=_arms(config.genes),
        bootstrap=Bootstrap(config.num_resamples, config.seed),
    )
    return RowTable(_named(rows, encoder=perturbation_map.encoder, map_digest=perturbation_map.digest))


def run_consistency(config: ConsistencyConfig, *, observe: Observer = ignore) -> RowTable:
    """Replicate consistency of wells."""
    del observe  # over in seconds
    table = _read_wells(require(config, "embeddings", verb="benchmark consistency"))
    return RowTable(_named(consistency_rows(table, config=config), encoder=table.encoder))


def run_moa(config: MoaConfig, *, observe: Observer = ignore) -> RowTable:
    """Nearest-neighbor mechanism of action of treatments."""
    del observe  # over in seconds
    table = _read_for_moa(require(config, "embeddings", verb="benchmark moa"))
    rows = moa_rows(
        table, aggregate=config.aggregate, standardize=config.standardize, min_crops=config.min_crops
    )
    return RowTable(_named(rows, encoder=table.encoder))


def run_batch_effect(config: BatchEffectConfig, *, observe: Observer = ignore) -> RowTable:
    """Predictability of plate, experiment and position from wells, and of the arm from a map."""
    del observe  # over in seconds
    if not config.embeddings and not config.map:
        raise UserError("benchmark batch-effect needs --embeddings or --map, got neither; give one of them")
    rows = RowTable()
    if config.embeddings:
        table = _read_wells(config.embeddings)
        rows += _named(well_rows(table, config=config), encoder=table.encoder)
    if config.map:
        genes = require(config, "genes", verb="benchmark batch-effect with --map")
        found = read_map(config.map)
        row = arm_row(found, _arms(genes) or {}, config=config)
        rows += _named([row], encoder=found.encoder, map_digest=found.digest)
    return rows


def run_benchmark(config: BenchmarkConfig, *, observe: Observer = ignore) -> StageResult:
    """Score every encoder with everything that the inputs allow.

    Raises:
        UserError: neither maps nor embeddings, or what a benchmark refuses.
    """
    if not config.maps and not config.embeddings:
        raise UserError(
            "benchmark needs --maps or --embeddings, got neither; give NAME=FOLDER of `map` or `embed`"
        )
    inputs: dict[str, Path | str | list[Path | str]] = {
        **{f"map {name}": Path(place) for name, place in sorted(config.maps.items())},
        **{f"embeddings {name}": Path(place) for name, place in sorted(config.embeddings.items())},
        "annotations": [Path(place) for place in config.annotations],
        "oracle": config.oracle,
        "genes": config.genes,
    }
    return run_stage(
        "benchmark",
        entry=__name__,
        config=config,
        inputs=inputs,
        build=partial(_build, config=config, observe=observe),
    )


@dataclass(frozen=True)
class _Shared:
    """What every part of `run_benchmark` reads."""

    config: BenchmarkConfig
    sources: tuple[AnnotationSource, ...]
    arms: dict[str, str] | None

    @property
    def bootstrap(self) -> Bootstrap:
        return Bootstrap(self.config.recall.num_resamples, self.config.seed)


def _build(output: Output, *, config: BenchmarkConfig, observe: Observer) -> Mapping[str, Any]:
    folder = output.folder
    shared = _Shared(config, _sources(config.annotations, recall=config.recall), _arms(config.genes))
    rows: list[Row] = []
    maps = {name: read_map(place) for name, place in sorted(config.maps.items())}
    names = sorted({*config.maps, *config.embeddings})
    for number, name in enumerate(names, start=1):
        if name in maps:
            rows += _map_rows(name, maps[name], folder=Path(config.maps[name]), shared=shared)
        rows += _table_rows(name, shared=shared)
        observe(number, {f"num_rows_{name}": float(sum(row.encoder == name for row in rows))})
    if shared.sources:
        if config.oracle:
            planted = read_map(config.oracle)
            rows += _recall(ORACLE, planted, step=FINAL, shared=shared, zero_vectors="kept")
        rows += _differences(maps, shared=shared)
    else:
        rows.append(_skipped("recall", "no annotations were given, so no relationship is known"))
    write_rows(folder, rows)
    return _summary(rows, lower=config.recall.lower)


def _map_rows(name: str, final: PerturbationMap, *, folder: Path, shared: _Shared) -> list[Row]:
    """Recall and arm predictability of a map and of the map after each of its steps."""
    rows: list[Row] = []
    stages = {**_step_maps(folder), FINAL: final}
    for step, perturbation_map in stages.items():
        if shared.sources:
            rows += _recall(name, perturbation_map, step=step, shared=shared)
        if shared.arms:
            settings = _batch_settings(shared.config)
            row = arm_row(perturbation_map, shared.arms, config=settings, settings={"step": step})
            rows += _named([row], encoder=name, map_digest=perturbation_map.digest)
    return rows


def _table_rows(name: str, *, shared: _Shared) -> list[Row]:
    """Consistency, batch effects and mechanisms of the wells before and after correction."""
    rows: list[Row] = []
    if name in shared.config.embeddings:
        place = Path(shared.config.embeddings[name])
        rows += _wells_rows(name, _read_wells(place), step=BEFORE, shared=shared)
        rows += _moa(name, _read_for_moa(place), step=BEFORE, shared=shared)
    corrected = Path(shared.config.maps.get(name, "")) / CORRECTED_FOLDER
    if name in shared.config.maps and corrected.is_dir():
        table = read_embeddings(corrected)
        rows += _wells_rows(name, table, step=FINAL, shared=shared)
        rows += _moa(name, table, step=FINAL, shared=shared)
    return rows


def _wells_rows(name: str, table: EmbeddingTable, *, step: str, shared: _Shared) -> list[Row]:
    settings = {"step": step}
    consistency = shared.config.consistency.model_copy(update={"seed": shared.config.seed})
    rows = _or_skipped(
        "consistency",
        lambda: consistency_rows(table, config=consistency, settings=settings),
        settings=settings,
    )
    rows += well_rows(table, config=_batch_settings(shared.config), settings=settings)
    return _named(rows, encoder=name)


def _moa(name: str, table: EmbeddingTable, *, step: str, shared: _Shared) -> list[Row]:
    settings = {"step": step}
    if not has_mechanisms(table.frame):
        reason = "the wells have no `moa` column"
        return _named([_skipped("moa", reason, settings=settings)], encoder=name)
    moa = shared.config.moa
    rows = _or_skipped(
        "moa",
        lambda: moa_rows(
            table,
            aggregate=moa.aggregate,
            # Correction has scaled the wells already; z-scoring them again would undo its weights.
            standardize=moa.standardize and step == BEFORE,
            min_crops=moa.min_crops,
            settings=settings,
        ),
        settings=settings,
    )
    return _named(rows, encoder=name)


def _recall(
    name: str,
    perturbation_map: PerturbationMap,
    *,
    step: str,
    shared: _Shared,
    zero_vectors: ZeroVectors = "left_out",
) -> list[Row]:
    rows = recall_rows(
        perturbation_map,
        sources=shared.sources,
        tails=_tails(shared.config.recall),
        arms=shared.arms,
        settings={"step": step},
        bootstrap=shared.bootstrap,
        zero_vectors=zero_vectors,
    )
    return _named(rows, encoder=name, map_digest=perturbation_map.digest)


def _differences(maps: Mapping[str, PerturbationMap], *, shared: _Shared) -> list[Row]:
    """Recall of the reference minus that of every other encoder, and minus its own without correction."""
    reference = shared.config.reference
    if reference not in maps:
        return []
    others = {(name, FINAL): other for name, other in maps.items() if name != reference}
    uncorrected = _step_maps(Path(shared.config.maps[reference])).get(BEFORE)
    if uncorrected is not None:
        others[(reference, BEFORE)] = uncorrected
    tails = _tails(shared.config.recall)[0]
    rows = []
    for (name, step), other in others.items():
        for source in shared.sources:
            compare = partial(
                paired_recall_difference,
                maps[reference],
                other,
                source=source,
                tails=tails,
                bootstrap=shared.bootstrap,
            )
            rows.append(
                _difference_row(source.name, compare, against=(name, step), tails=tails, shared=shared)
            )
    return _named(rows, encoder=reference, map_digest=maps[reference].digest)


def _difference_row(
    source: str,
    compare: Callable[[], PairedDifference],
    *,
    against: tuple[str, str],
    tails: Tails,
    shared: _Shared,
) -> Row:
    settings = {"against": against[0], "against_step": against[1], "step": FINAL}
    try:
        found = compare()
    except UserError as error:
        return _skipped("recall", str(error), settings={**settings, "source": source})
    return Row(
        benchmark="recall",
        source=source,
        metric="recall_difference",
        setting=canonical_setting(
            lower=tails[0],
            upper=tails[1],
            chance=0.0,
            **({"interval": "pairs"} if shared.bootstrap.num_resamples else {}),
            **settings,
        ),
        value=found.difference.value,
        low=found.difference.low,
        high=found.difference.high,
        n=found.num_pairs,
        seed=shared.bootstrap.seed,
    )


def _step_maps(folder: Path) -> dict[str, PerturbationMap]:
    """The maps after each step, in their order; none beside a bare map."""
    files = sorted((folder / STEPS_FOLDER).glob("*.parquet"), key=lambda file: int(file.stem.split("_")[0]))
    return {file.stem: read_map(file) for file in files}


def _or_skipped(benchmark: str, make: Callable[[], list[Row]], *, settings: Mapping[str, Any]) -> list[Row]:
    """Rows, or one row that says why there are none: one benchmark without input does not end the others."""
    try:
        return make()
    except UserError as error:
        return [_skipped(benchmark, str(error), settings=settings)]


def _skipped(benchmark: str, reason: str, *, settings: Mapping[str, Any] | None = None) -> Row:
    logger.warning("%s is skipped: %s", benchmark, reason)
    return Row(benchmark, "", "skipped", canonical_setting(reason=reason, **(settings or {})))


def _named(rows: Iterable[Row], *, encoder: str, map_digest: str = "") -> list[Row]:
    return [replace(row, encoder=encoder, map=map_digest) for row in rows]


def _sources(paths: Iterable[str], *, recall: RecallConfig) -> tuple[AnnotationSource, ...]:
    """The annotation sources, and where wanted the pairs that at least 1, 2, ... of them have."""
    sources = read_sources(paths)
    grouped = by_number_of_sources(sources) if sources and recall.by_number_of_sources else []
    return (*sources, *grouped)


def _tails(config: RecallConfig) -> list[Tails]:
    further = [(tail, 1 - tail) for tail in config.curve]
    return list(dict.fromkeys([(config.lower, config.upper), *further]))


def _arms(genes: str) -> dict[str, str] | None:
    return arm_lookup(read_genes(genes, columns=("arm",))) if genes else None


def _batch_settings(config: BenchmarkConfig) -> BatchEffectConfig:
    return config.batch_effect.model_copy(update={"seed": config.seed})


def _read_wells(place: str | Path) -> EmbeddingTable:
    return read_embeddings(table_of_level(place, level="well"))


def _read_for_moa(place: str | Path) -> EmbeddingTable:
    """Fields where there are any: the protocol z-scores before it averages to wells, and counts crops."""
    fields = table_of_level(place, level="field")
    return read_embeddings(fields if fields != Path(place) else table_of_level(place, level="well"))


def _summary(rows: list[Row], *, lower: float) -> dict[str, Any]:
    """Headline numbers by name, for the log and the tracking server."""
    headline: dict[str, Any] = {"num_rows": len(rows)}
    for row in rows:
        settings = row.settings
        name = _headline_name(row, settings)
        is_wanted = settings.get("step") in (FINAL, BEFORE) and settings.get("lower", lower) == lower
        if name and is_wanted and row.value is not None:
            headline[f"{name}/{row.encoder}/{settings['step']}"] = row.value
    return headline


def _headline_name(row: Row, settings: Mapping[str, Any]) -> str:
    if row.metric == "recall":
        return f"recall/{row.source}"
    if row.metric == "recall_difference":
        return f"recall_difference/{row.source}/{settings['against']}_{settings['against_step']}"
    if row.benchmark == "batch_effect" and settings.get("wells") in ("all", "map"):
        return f"batch_effect/{row.source}"
    return row.metric if row.benchmark == "moa" or row.metric == "ks_mean" else ""
