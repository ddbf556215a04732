"""The `ingest` verb: read a source layout, write every plate, then the header that makes the store count."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from phenoscale.config import require
from phenoscale.errors import UserError
from phenoscale.logs import get_logger, key_values, progress
from phenoscale.references import find
from phenoscale.schema.keys import PLATE_KEY
from phenoscale.schema.screen import ScreenHeader
from phenoscale.screens.ingest.config import IngestConfig
from phenoscale.screens.ingest.foreign_table import image_base
from phenoscale.screens.ingest.plan import IngestPlan
from phenoscale.screens.ingest.plates import IngestedPlate, PixelSettings, PlateIngest, summarize_reasons
from phenoscale.screens.ingest.readers.known import READERS
from phenoscale.screens.ingest.sources import files_of, list_files
from phenoscale.screens.layout import QUARANTINE_FILE
from phenoscale.screens.writer import write_header
from phenoscale.stages import Observer, Output, StageResult, ignore, run_stage

logger = get_logger(__name__)


def run_ingest(config: IngestConfig, *, observe: Observer = ignore) -> StageResult:
    """Turn a source layout into a screen store.

    A plate that an ingest of the same files and settings has made before is found, whatever else has changed
    in the screen, and is not read again.

    Raises:
        UserError: the table is wrong, a plate has no usable image, or too many images are bad.
        RetryError: the disk is full, a file changed while it was read, or the object store is away.
    """
    return run_stage(
        "ingest",
        entry=__name__,
        config=config,
        inputs=_inputs(config),
        build=partial(build_store, config=config, observe=observe),
        # no other reader enters the key
        modules=[READERS[config.source].partition(":")[0]],
    )


def build_store(output: Output, *, config: IngestConfig, observe: Observer = ignore) -> Mapping[str, Any]:
    """Write the store of a screen into an output, which may hold plates of an earlier, killed run."""
    plan: IngestPlan = find(READERS[config.source])(config)
    _refuse_several_screens(plan)
    listing = list_files(files_of(plan.wells.frame["image"]), base=plan.base)
    frame = plan.wells.frame
    plates: list[IngestedPlate] = []
    num_workers = max(config.runtime.num_workers, 1)
    with ThreadPoolExecutor(num_workers) as executor, progress(len(frame), label="ingest") as bar:
        ingest = PlateIngest(
            output, plan, listing, _settings(config, plan), executor=executor, window=2 * num_workers
        )
        for _, wells in frame.groupby(list(PLATE_KEY), sort=False):
            # the first plate decides the pixel type of the screen, wherever the config does not
            dtype = plates[0].format.dtype if plates else config.dtype
            plate = ingest.plate(wells.reset_index(drop=True), dtype=dtype)
            plates.append(plate)
            _log_plate(plate)
            _stop_if_too_many_are_bad(output.folder, plates, num_fields=len(frame), config=config)
            bar.advance(len(wells))
            observe(len(plates), _figures(plates))
    _write_quarantine(output.folder, plates)
    write_header(output.folder, _header(plan, plates))
    return _summary(plan, plates)


def _inputs(config: IngestConfig) -> dict[str, str]:
    """Return the images' folder, whose files enter the key, and the table where it lies elsewhere."""
    if not config.table:
        return {"path": require(config, "path", verb="ingest")}
    base, table = image_base(config), config.table
    is_inside = posixpath.normpath(table).startswith(posixpath.normpath(base) + "/")
    return {"path": base} if is_inside else {"path": base, "table": table}


def _settings(config: IngestConfig, plan: IngestPlan) -> PixelSettings:
    return PixelSettings(
        dtype=config.dtype,
        height=config.field_height_px,
        width=config.field_width_px,
        intensity_scale=config.intensity_scale or plan.intensity_scale,
        pixel_size_um=config.pixel_size_um,
        saturation_level=config.saturation_level,
    )


def _refuse_several_screens(plan: IngestPlan) -> None:
    """Refuse a table of several screens."""
    screens = plan.wells.frame["screen"].unique().tolist()
    if len(screens) > 1:
        raise UserError(
            f"the table names {len(screens)} screens ({', '.join(screens[:5])}), but a store holds one: "
            "ingest them apart, or name them all as one with `screen`"
        )


def _stop_if_too_many_are_bad(
    folder: Path, plates: list[IngestedPlate], *, num_fields: int, config: IngestConfig
) -> None:
    quarantined = pd.concat([plate.quarantined for plate in plates], ignore_index=True)
    if len(quarantined) <= config.max_quarantined_fraction * num_fields:
        return
    _write_quarantine(folder, plates)
    raise UserError(
        f"{len(quarantined)} of {num_fields} fields are bad, more than max_quarantined_fraction "
        f"{config.max_quarantined_fraction}; correct the images, or raise the fraction to go on without "
        f"them (all are listed in {folder / QUARANTINE_FILE}). "
        f"{summarize_reasons(quarantined['reason'].tolist())}"
    )


def _write_quarantine(folder: Path, plates: list[IngestedPlate]) -> None:
    quarantined = pd.concat([plate.quarantined for plate in plates], ignore_index=True)
    quarantined.to_parquet(folder / QUARANTINE_FILE, index=False)


def _header(plan: IngestPlan, plates: list[IngestedPlate]) -> ScreenHeader:
    first = plates[0].format
    return ScreenHeader(
        screen=str(plan.wells.frame["screen"].iloc[0]),
        channels=plan.channels,
        dtype=first.dtype,
        intensity_scale=first.intensity_scale,
        pixel_size_um=first.pixel_size_um,
        plates=tuple(plate.entry for plate in plates),
    )


def _figures(plates: list[IngestedPlate]) -> dict[str, float]:
    return {
        "num_fields": float(sum(plate.entry.num_fields for plate in plates)),
        "num_quarantined": float(sum(len(plate.quarantined) for plate in plates)),
    }


def _summary(plan: IngestPlan, plates: list[IngestedPlate]) -> dict[str, Any]:
    return {
        "num_plates": len(plates),
        "num_experiments": len({plate.entry.experiment for plate in plates}),
        **{name: int(value) for name, value in _figures(plates).items()},
        "num_plates_read": sum(plate.num_bytes_read is not None for plate in plates),
        "num_bytes_read": sum(plate.num_bytes_read or 0 for plate in plates),
        "channels": list(plan.channels),
        "dtype": plates[0].format.dtype,
    }


def _log_plate(plate: IngestedPlate) -> None:
    line = key_values(
        plate=f"{plate.entry.experiment}/{plate.entry.plate}",
        num_fields=plate.entry.num_fields,
        num_quarantined=len(plate.quarantined),
        status="found" if plate.num_bytes_read is None else "written",
    )
    logger.info("%s", line)
    if len(plate.quarantined) and plate.num_bytes_read is not None:
        logger.warning("%s", summarize_reasons(plate.quarantined["reason"].tolist()))
