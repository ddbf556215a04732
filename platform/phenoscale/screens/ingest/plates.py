"""Write one plate of an ingest: decode its fields, append the good ones, record why the others are bad."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from phenoscale.config import digest_json
from phenoscale.errors import UserError
from phenoscale.schema.keys import FIELD_KEY
from phenoscale.schema.screen import PlateEntry, check_dtype
from phenoscale.screens.ingest.fields import FieldFormat, decode_fields, probe_format
from phenoscale.screens.ingest.images import MISSING, digest_image_file
from phenoscale.screens.ingest.locators import resolve_file
from phenoscale.screens.ingest.plan import IngestPlan
from phenoscale.screens.layout import QUARANTINE_FILE, SOURCES_FILE, plate_folder, retry_when_disk_full
from phenoscale.screens.ordered import in_order
from phenoscale.screens.writer import PlateFormat, PlateWriter, committed_plate
from phenoscale.storage import digest_bytes, is_remote, open_storage

_SHOWN_REASONS: Final = 5


@dataclass(frozen=True)
class PixelSettings:
    """What is known about the pixels before any image is read; None and "" mean: as the images are.

    Attributes:
        dtype: pixel type.
        height: pixel rows of a field.
        width: pixel columns of a field.
        intensity_scale: what pixel values are divided by.
        pixel_size_um: edge of a pixel in micrometers.
    """

    dtype: str
    height: int | None
    width: int | None
    intensity_scale: float | None
    pixel_size_um: float | None


@dataclass(frozen=True)
class IngestedPlate:
    """A committed plate, its pixel format, and the rows that were quarantined."""

    entry: PlateEntry
    format: PlateFormat
    quarantined: pd.DataFrame
    reused: bool


def ingest_plate(
    store: Path,
    plan: IngestPlan,
    *,
    wells: pd.DataFrame,
    settings: PixelSettings,
    executor: Executor,
    window: int,
) -> IngestedPlate:
    """Write one plate of a store, or return it where an earlier run committed it.

    Args:
        store: the store's folder.
        plan: says where the images lie.
        wells: the plate's rows of the well table.
        settings: what is known about the pixels.
        executor: threads to read and decode in.
        window: groups of fields that may be decoded ahead.

    Raises:
        UserError: none of the plate's images can be used.
    """
    experiment, plate = str(wells["experiment"].iloc[0]), str(wells["plate"].iloc[0])
    folder = store / plate_folder(experiment, plate)
    request = _request(plan, wells=wells, settings=settings)
    committed = committed_plate(store, experiment=experiment, plate=plate, request=request)
    if committed is not None:
        quarantined = pd.read_parquet(folder / QUARANTINE_FILE)
        return IngestedPlate(committed[0], committed[1], quarantined=quarantined, reused=True)
    expected = _expected_format(plan, wells=wells, settings=settings)
    pixels = PlateFormat(
        channels=plan.channels,
        dtype=expected.dtype,
        height=expected.height,
        width=expected.width,
        intensity_scale=settings.intensity_scale or float(np.iinfo(expected.dtype).max),
        pixel_size_um=settings.pixel_size_um,
    )
    writer = PlateWriter(store, wells=wells, format=pixels, request=request)
    images = wells["image"].tolist()
    reasons: dict[int, str] = {}
    for field in decode_fields(plan, images, expected=expected, executor=executor, window=window):
        if field.pixels is None:
            reasons[field.row] = field.reason
        else:
            writer.append(field.row, field.pixels)
    if len(reasons) == len(wells):
        raise UserError(_all_bad(experiment, plate, reasons=list(reasons.values())))
    quarantined = _quarantined(wells, reasons=reasons)
    sources = _digest_sources(plan, wells=wells, executor=executor, window=window)
    with retry_when_disk_full(f"plate {experiment}/{plate}"):
        quarantined.to_parquet(folder / QUARANTINE_FILE, index=False)
        sources.to_parquet(folder / SOURCES_FILE, index=False)
    entry = writer.commit(source_digest=digest_json(sources.to_dict("list")))
    return IngestedPlate(entry, pixels, quarantined=quarantined, reused=False)


def _request(plan: IngestPlan, *, wells: pd.DataFrame, settings: PixelSettings) -> str:
    rows = {str(name): [str(value) for value in wells[name]] for name in wells.columns}
    return digest_bytes(json.dumps([plan.channels, plan.planes, asdict(settings), rows]).encode())


def _expected_format(plan: IngestPlan, *, wells: pd.DataFrame, settings: PixelSettings) -> FieldFormat:
    found = probe_format(plan, wells["image"].tolist())
    if not isinstance(found, FieldFormat):
        first = wells.iloc[0]
        raise UserError(_all_bad(str(first["experiment"]), str(first["plate"]), reasons=found))
    dtype = settings.dtype or found.dtype
    check_dtype(dtype)
    return FieldFormat(settings.height or found.height, settings.width or found.width, dtype)


def _all_bad(experiment: str, plate: str, *, reasons: list[str]) -> str:
    return (
        f"plate {experiment}/{plate}: none of its {len(reasons)} images can be used; correct the images or "
        f"the table, or leave the plate out of the table. {summarize_reasons(reasons)}"
    )


def summarize_reasons(reasons: Sequence[str]) -> str:
    """Return the first few reasons, and how many more there are."""
    more = len(reasons) - _SHOWN_REASONS
    return "Reasons: " + "; ".join(reasons[:_SHOWN_REASONS]) + (f"; and {more} more" if more > 0 else "")


def _quarantined(wells: pd.DataFrame, *, reasons: dict[int, str]) -> pd.DataFrame:
    rows = wells.iloc[list(reasons)]
    images = [" ".join(image) for image in rows["image"]]
    frame = rows[[*FIELD_KEY, "field_id"]].assign(image=images, reason=list(reasons.values()))
    return frame.astype({"image": "str", "reason": "str"}).reset_index(drop=True)


def _digest_sources(
    plan: IngestPlan, *, wells: pd.DataFrame, executor: Executor, window: int
) -> pd.DataFrame:
    """Return the plate's files with the sha256 of their bytes, or the etag of an object in a store."""
    names = sorted({locator.partition("#")[0] for image in wells["image"] for locator in image} - {""})
    uris = [resolve_file(name, base=plan.base) for name in names]
    if is_remote(plan.base):
        digests = _etags(uris)
    else:
        digests = list(in_order(digest_image_file, uris, executor=executor, window=window))
    return pd.DataFrame({"file": names, "digest": digests}, dtype="str")


def _etags(uris: list[str]) -> list[str]:
    """Return the etags of objects from one listing of the folder that they share."""
    shared = posixpath.commonpath([posixpath.dirname(uri) for uri in uris]).replace("s3:/", "s3://", 1)
    found = {f"{shared}/{info.key}": info.etag for info in open_storage(shared).list()}
    return [found.get(uri, MISSING) for uri in uris]
