"""The `ingest` verb: read a source layout, write every plate, then the header that makes the store count."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import pandas as pd

from phenoscale.config import require
from phenoscale.errors import UserError
from phenoscale.logs import get_logger, key_values, progress
from phenoscale.schema.keys import PLATE_KEY
from phenoscale.schema.screen import ScreenHeader
from phenoscale.screens.ingest.bbbc021 import plan_bbbc021
from phenoscale.screens.ingest.config import IngestConfig
from phenoscale.screens.ingest.locators import resolve_file
from phenoscale.screens.ingest.plan import IngestPlan
from phenoscale.screens.ingest.plates import IngestedPlate, PixelSettings, ingest_plate, summarize_reasons
from phenoscale.screens.ingest.table import image_base, plan_table, table_place
from phenoscale.screens.layout import QUARANTINE_FILE, retry_when_disk_full
from phenoscale.screens.writer import write_header
from phenoscale.stages import Observer, Output, StageResult, ignore, run_stage

READERS: Final[Mapping[str, Callable[[IngestConfig], IngestPlan]]] = {
    "table": plan_table,
    "bbbc021": plan_bbbc021,
}

logger = get_logger(__name__)


def run_ingest(config: IngestConfig, *, observe: Observer = ignore) -> StageResult:
    """Turn a source layout into a screen store.

    A killed ingest is taken up where it was: plates that were committed are not read again.

    Raises:
        UserError: the table is wrong, a plate has no usable image, or too many images are bad.
        RetryError: the disk is full, or the object store is away.
    """
    return run_stage(
        "ingest",
        entry=__name__,
        config=config,
        inputs=_inputs(config),
        build=partial(build_store, config=config, observe=observe),
    )


def build_store(output: Output, *, config: IngestConfig, observe: Observer = ignore) -> Mapping[str, Any]:
    """Write the store of a screen into a folder, which may hold plates of an earlier, killed run."""
    folder = output.folder
    plan = READERS[config.source](config)
    _check_places(plan)
    settings = PixelSettings(
        dtype=config.dtype,
        height=config.field_height_px,
        width=config.field_width_px,
        intensity_scale=config.intensity_scale or plan.intensity_scale,
        pixel_size_um=config.pixel_size_um,
    )
    frame = plan.wells.frame
    plates: list[IngestedPlate] = []
    num_workers = max(config.runtime.num_workers, 1)
    with ThreadPoolExecutor(num_workers) as executor, progress(len(frame), label="ingest") as bar:
        for _, wells in frame.groupby(list(PLATE_KEY), sort=False):
            wells = wells.reset_index(drop=True)
            plate = ingest_plate(
                folder, plan, wells=wells, settings=settings, executor=executor, window=2 * num_workers
            )
            plates.append(plate)
            # the first plate decides the pixel type of the screen, wherever the config does not
            settings = replace(settings, dtype=plate.format.dtype)
            _log_plate(plate)
            _stop_if_too_many_are_bad(folder, plates, num_fields=len(frame), config=config)
            bar.advance(len(wells))
            observe(len(plates), _figures(plates))
    _write_quarantine(folder, plates)
    write_header(folder, _header(plan, plates))
    return _summary(plan, plates)


def _inputs(config: IngestConfig) -> dict[str, str]:
    """Return the images' folder, whose bytes enter the key, and the table where it lies elsewhere."""
    if config.source != "table":
        return {"path": require(config, "path", verb="ingest")}
    base, table = image_base(config), table_place(config)
    is_inside = posixpath.normpath(table).startswith(posixpath.normpath(base) + "/")
    return {"path": base} if is_inside else {"path": base, "table": table}


def _check_places(plan: IngestPlan) -> None:
    """Refuse a table that names images outside the folder whose bytes enter the key."""
    locators = (locator for image in plan.wells.frame["image"] for locator in image)
    for name in {locator.partition("#")[0] for locator in locators} - {""}:
        resolve_file(name, base=plan.base)


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
    with retry_when_disk_full(str(folder / QUARANTINE_FILE)):
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
        "num_plates_reused": sum(plate.reused for plate in plates),
        "channels": list(plan.channels),
        "dtype": plates[0].format.dtype,
    }


def _log_plate(plate: IngestedPlate) -> None:
    line = key_values(
        plate=f"{plate.entry.experiment}/{plate.entry.plate}",
        num_fields=plate.entry.num_fields,
        num_quarantined=len(plate.quarantined),
        status="reused" if plate.reused else "written",
    )
    logger.info("%s", line)
    if len(plate.quarantined) and not plate.reused:
        logger.warning("%s", summarize_reasons(plate.quarantined["reason"].tolist()))
