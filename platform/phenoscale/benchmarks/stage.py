"""The stage `benchmark`: several encoders before and after correction, scored and compared.

It writes `rows.parquet` and `rows.json`. In its rows `encoder` is the name of the encoder, and `step` in the
setting says how far the correction had gone: before any, one name per step, and after all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from phenoscale.benchmarks.benchmark import Benchmark, Part
from phenoscale.benchmarks.catalog import load_all
from phenoscale.benchmarks.config import BenchmarkConfig
from phenoscale.benchmarks.inputs import ANNOTATIONS, MAP
from phenoscale.benchmarks.relations.recall import sources_to_score
from phenoscale.benchmarks.relations.recall_difference import recall_differences
from phenoscale.benchmarks.run import ReadOnce, lacking, score, score_or_skip, skipped
from phenoscale.config import Config
from phenoscale.errors import UserError
from phenoscale.mapping.stage import CORRECTED_FOLDER, STEPS_FOLDER
from phenoscale.schema.rows import (
    BATCH_EFFECT,
    BEFORE,
    FINAL,
    KS_MEAN,
    MOA,
    ORACLE,
    RECALL,
    RECALL_DIFFERENCE,
    STEP,
    Row,
    canonical_setting,
    write_rows,
)
from phenoscale.stages import Observer, Output, StageResult, ignore, run_stage


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
        modules=[module for benchmark in _in_stage() for module in benchmark.modules],
    )


def _in_stage() -> list[Benchmark]:
    return [found for found in load_all().values() if found.in_stage]


@dataclass(frozen=True)
class Subject:
    """A map or a table of wells to be scored.

    Attributes:
        encoder: name of the encoder.
        step: how far the correction had gone.
        kind: `map` or `embeddings`, the field of a benchmark's input that it fills.
        place: where it is.
        settings: settings of a benchmark that hold for this subject alone.
    """

    encoder: str
    step: str
    kind: str
    place: str
    settings: Mapping[str, Any] = field(default_factory=dict)


def _build(output: Output, *, config: BenchmarkConfig, observe: Observer) -> Mapping[str, Any]:
    asked = _in_stage()
    read = ReadOnce()
    rows: list[Row] = []
    for number, name in enumerate(sorted({*config.maps, *config.embeddings}), start=1):
        own = [
            row for each in _subjects(name, config) for row in _score(each, asked, config=config, read=read)
        ]
        rows += own
        observe(number, {f"num_rows_{name}": float(len(own))})
    if config.oracle:
        for benchmark in asked:
            if benchmark.oracle_settings is not None:
                planted = Subject(ORACLE, FINAL, "map", config.oracle, settings=benchmark.oracle_settings)
                rows += _score(planted, [benchmark], config=config, read=read)
    rows += _differences(config, read=read)
    for benchmark in asked:
        reasons = [lacking(part.needs[1:], config) for part in benchmark.parts]
        rows += [skipped(benchmark, reason=reasons[0])] if all(reasons) else []
    write_rows(output.folder, rows)
    return _summary(rows, lower=config.recall.lower)


def _subjects(name: str, config: BenchmarkConfig) -> Iterator[Subject]:
    """The maps of an encoder after each step, then its wells before and after correction."""
    if name in config.maps:
        for step, place in _maps_by_step(config.maps[name]).items():
            yield Subject(name, step, "map", place)
    if name in config.embeddings:
        yield Subject(name, BEFORE, "embeddings", config.embeddings[name])
    corrected = Path(config.maps.get(name, "")) / CORRECTED_FOLDER
    if name in config.maps and corrected.is_dir():
        yield Subject(name, FINAL, "embeddings", str(corrected))


def _maps_by_step(place: str) -> dict[str, str]:
    """Where the map after each step is, in their order, and the map itself; a bare map has no steps."""
    files = sorted(
        (Path(place) / STEPS_FOLDER).glob("*.parquet"), key=lambda file: int(file.stem.split("_")[0])
    )
    return {**{file.stem: str(file) for file in files}, FINAL: place}


def _score(subject: Subject, asked: list[Benchmark], *, config: BenchmarkConfig, read: ReadOnce) -> list[Row]:
    """Every benchmark that has a question for the subject and its further inputs."""
    rows: list[Row] = []
    for benchmark in asked:
        for part in benchmark.parts:
            if part.subject.source != subject.kind or lacking(part.needs[1:], config):
                continue
            settings = _config_of(benchmark, part, subject=subject, config=config)
            run = score if benchmark.in_stage == "required" else partial(score_or_skip, benchmark)
            rows += run(part, config=settings, given=read.all(part, settings))
    if subject.kind == "embeddings":
        for part in (part for benchmark in asked for part in benchmark.parts):
            read.forget(part.subject)
    return [_of(row, encoder=subject.encoder, step=subject.step, map_digest=row.map) for row in rows]


def _config_of(benchmark: Benchmark, part: Part, *, subject: Subject, config: BenchmarkConfig) -> Config:
    """The stage's section of a benchmark with the subject, the shared inputs and the seed."""
    section: Config = getattr(config, benchmark.row_name, None) or benchmark.config()
    places = {each.name: getattr(config, each.source, "") for each in part.inputs}
    is_corrected = subject.kind == "embeddings" and subject.step == FINAL
    return section.model_copy(
        update={
            **places,
            part.subject.name: subject.place,
            "seed": config.seed,
            **(benchmark.corrected_settings if is_corrected else {}),
            **subject.settings,
        }
    )


def _differences(config: BenchmarkConfig, *, read: ReadOnce) -> list[Row]:
    """Recall of the reference minus that of every other encoder, and minus its own without correction."""
    reference = config.reference
    if reference not in config.maps or not config.annotations:
        return []
    places = {(name, FINAL): place for name, place in sorted(config.maps.items()) if name != reference}
    by_step = _maps_by_step(config.maps[reference])
    if BEFORE in by_step:
        places[reference, BEFORE] = by_step[BEFORE]
    own = read(MAP, config.maps[reference])
    settings = config.recall.model_copy(update={"seed": config.seed})
    rows = recall_differences(
        own,
        {against: read(MAP, place) for against, place in places.items()},
        sources=sources_to_score(read(ANNOTATIONS, config.annotations), config=settings),
        config=settings,
    )
    return [_of(row, encoder=reference, step=FINAL, map_digest=own.digest) for row in rows]


def _of(row: Row, *, encoder: str, step: str, map_digest: str) -> Row:
    """A row that names its encoder, its step and its map."""
    setting = canonical_setting(**{**row.settings, STEP: step})
    return replace(row, encoder=encoder, setting=setting, map=map_digest)


def _summary(rows: list[Row], *, lower: float) -> dict[str, Any]:
    """Headline numbers by name, for the log and the tracking server."""
    headline: dict[str, Any] = {"num_rows": len(rows)}
    for row in rows:
        settings = row.settings
        name = _headline_name(row, settings)
        is_wanted = settings.get(STEP) in (FINAL, BEFORE) and settings.get("lower", lower) == lower
        if name and is_wanted and row.value is not None:
            headline[f"{name}/{row.encoder}/{settings[STEP]}"] = row.value
    return headline


def _headline_name(row: Row, settings: Mapping[str, Any]) -> str:
    if row.metric == RECALL:
        return f"recall/{row.source}"
    if row.metric == RECALL_DIFFERENCE:
        return f"recall_difference/{row.source}/{settings['against']}_{settings['against_step']}"
    if row.benchmark == BATCH_EFFECT and settings.get("wells") in ("all", "map"):
        return f"batch_effect/{row.source}"
    return row.metric if row.benchmark == MOA or row.metric == KS_MEAN else ""
