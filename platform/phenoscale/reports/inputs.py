"""Everything the report shows, read once from the stages' outputs; what was not given is None or empty."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from phenoscale.reports.ancestry import Ancestry, read_ancestry
from phenoscale.schema.embeddings import partition_files, table_of_level
from phenoscale.schema.encoders import EncoderConfig, read_encoder_config
from phenoscale.schema.manifest import Manifest, read_manifest
from phenoscale.schema.maps import PerturbationMap, read_map
from phenoscale.schema.readable import readable
from phenoscale.schema.rows import Row, read_rows
from phenoscale.screens.store import open_screen
from phenoscale.stages import lineage_of, output_folder
from phenoscale.stages.records import read_json
from phenoscale.storage import open_storage

if TYPE_CHECKING:
    import pandas as pd

    from phenoscale.reports.config import ReportConfig
    from phenoscale.schema.screen import ScreenHeader

_PROBED: Final = "encoder "  # what `probe` calls its inputs, before their names


@dataclass(frozen=True)
class ScreenFacts:
    """A screen store's header and its well tables."""

    header: ScreenHeader
    wells: pd.DataFrame


@dataclass(frozen=True)
class TrainingFacts:
    """A training's record and what it left to look at.

    Attributes:
        records: one mapping per logged step.
        reconstructions: the file of arrays, None when none were kept.
        summary: what the stage says about itself.
        settings: the stage's resolved config.
        encoder: the encoder that came out.
    """

    records: Sequence[Mapping[str, float]]
    reconstructions: Path | None
    summary: Mapping[str, Any]
    settings: Mapping[str, Any]
    encoder: EncoderConfig | None

    @property
    def cpu_seconds(self) -> float | None:
        """Processor time of all processes; None where it was not recorded."""
        found = self.summary.get("cpu_seconds")
        return None if found is None else float(found)


@dataclass(frozen=True)
class ReportInputs:
    """The inputs of all sections.

    Attributes:
        screen: the screen store.
        manifest: what was trained on.
        trainings: by encoder.
        encoder: the encoder that the headline speaks of.
        num_parameters: of each probed encoder with all its blocks.
        shown: the name of the encoder that the headline speaks of.
        probe_rows: what `probe` measured.
        rows: what `benchmark` measured.
        maps: by encoder.
        oracle: the map of the planted phenotypes.
        groups: group (module, mechanism) of a perturbation.
        registered: the record of `register`.
        promoted: the record of `promote`.
        ancestry: the stages that led here.
    """

    screen: ScreenFacts | None = None
    manifest: Manifest | None = None
    trainings: Mapping[str, TrainingFacts] = field(default_factory=dict)
    encoder: EncoderConfig | None = None
    num_parameters: Mapping[str, int] = field(default_factory=dict)
    shown: str = "trained"
    probe_rows: Sequence[Row] = ()
    rows: Sequence[Row] = ()
    maps: Mapping[str, PerturbationMap] = field(default_factory=dict)
    oracle: PerturbationMap | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    registered: Mapping[str, Any] = field(default_factory=dict)
    promoted: Mapping[str, Any] = field(default_factory=dict)
    ancestry: Ancestry = field(default_factory=Ancestry)


def read_inputs(config: ReportConfig) -> ReportInputs:
    """Read what the config points at.

    Raises:
        UserError: a place that was given but does not hold what it should.
    """
    maps = {name: read_map(place) for name, place in config.maps.items()}
    return ReportInputs(
        screen=_read_screen(config.screen) if config.screen else None,
        manifest=read_manifest(config.manifest) if config.manifest else None,
        trainings={name: read_training(Path(place)) for name, place in config.trainings.items()},
        encoder=_read_encoder(config),
        num_parameters=read_num_parameters(Path(config.probe)) if config.probe else {},
        shown=config.shown_map,
        probe_rows=tuple(read_rows(config.probe)) if config.probe else (),
        rows=tuple(read_rows(config.benchmark)) if config.benchmark else (),
        maps=maps,
        oracle=read_map(config.oracle) if config.oracle else None,
        groups=_read_groups(config, maps=maps),
        registered=read_json(open_storage(config.registered), "registered.json") if config.registered else {},
        promoted=read_json(open_storage(config.promoted), "promotion.json") if config.promoted else {},
        ancestry=read_ancestry(config),
    )


def _read_screen(place: str) -> ScreenFacts:
    store = open_screen(place)
    return ScreenFacts(header=store.header, wells=store.wells)


def read_training(folder: Path) -> TrainingFacts:
    """What a training left; timings are in the live record only, which may be gone."""
    live = _read_lines(folder / "logs" / "metrics.jsonl")
    timed = {record["step"]: record for record in live}
    records = [
        {**timed.get(record["step"], {}), **record}
        for record in _read_lines(folder / "metrics.jsonl") or live
    ]
    lineage = lineage_of(folder)
    pictures = folder / "reconstructions.npz"
    return TrainingFacts(
        records=[{key: value for key, value in record.items() if value is not None} for record in records],
        reconstructions=pictures if pictures.is_file() else None,
        summary=lineage.get("summary", {}),
        settings=lineage.get("config", {}),
        encoder=read_encoder_config(folder) if (folder / "encoder" / "config.json").is_file() else None,
    )


def read_num_parameters(probe: Path) -> dict[str, int]:
    """Parameters of each probed encoder before it was cut, as the stages say that made them."""
    found: dict[str, int] = {}
    for name, entry in lineage_of(probe).get("inputs", {}).items():
        folder = output_folder(entry["uri"]) if name.startswith(_PROBED) and entry.get("key") else None
        summary = lineage_of(folder).get("summary", {}) if folder else {}
        count = summary.get("num_encoder_parameters", summary.get("num_parameters"))
        if count is not None:
            found[name.removeprefix(_PROBED)] = int(count)
    return found


def _read_encoder(config: ReportConfig) -> EncoderConfig | None:
    """The probed encoder, cut at its best block; the one that training left when nothing was probed."""
    for place in (config.probe, *config.trainings.values()):
        if place and (Path(place) / "encoder" / "config.json").is_file():
            return read_encoder_config(place)
    return None


def _read_groups(config: ReportConfig, *, maps: Mapping[str, PerturbationMap]) -> dict[str, str]:
    """Group (module, pathway, mechanism) by perturbation or gene: from the table, the map, or the wells."""
    import pandas as pd

    column = config.group_column
    if config.genes:
        with readable(Path(config.genes), holds="a gene table", way_out="write it with a header row"):
            table = pd.read_csv(config.genes, dtype=str, keep_default_na=False)
        name = "gene" if "gene" in table else "perturbation"
        if column in table and name in table:
            return _pairs(table, name, column=column)
    for perturbation_map in maps.values():
        if column in perturbation_map.frame:
            return _pairs(perturbation_map.frame, "perturbation", column=column)
    return _groups_of_wells(config)


def _groups_of_wells(config: ReportConfig) -> dict[str, str]:
    import pandas as pd

    files = [
        file
        for place in config.embeddings.values()
        for file in partition_files(table_of_level(place, level="well"))
    ]
    found: dict[str, str] = {}
    for file in files:
        import pyarrow.parquet as pq

        names = pq.read_schema(file).names
        if config.group_column not in names:
            return found
        frame = pd.read_parquet(file, columns=["perturbation", config.group_column])
        found |= _pairs(frame, "perturbation", column=config.group_column)
    return found


def _pairs(frame: pd.DataFrame, name: str, *, column: str) -> dict[str, str]:
    known = frame[[name, column]].fillna("").astype(str)
    known = known[known[column] != ""]
    return dict(zip(known[name], known[column], strict=True))


def _read_lines(file: Path) -> list[dict[str, float]]:
    if not file.is_file():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
