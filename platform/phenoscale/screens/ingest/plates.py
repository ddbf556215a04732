"""Write one plate of an ingest: decode its fields, append the good ones, record why the others are bad."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from typing import Final
from urllib.parse import quote

import numpy as np
import pandas as pd

from phenoscale.config import digest_json
from phenoscale.errors import UserError
from phenoscale.schema.keys import FIELD_KEY, PLATE_KEY
from phenoscale.schema.screen import PlateEntry, check_dtype
from phenoscale.screens.ingest.fields import FieldFormat, decode_fields, probe_format
from phenoscale.screens.ingest.plan import IngestPlan
from phenoscale.screens.ingest.sources import SourceFiles, files_of
from phenoscale.screens.layout import QUARANTINE_FILE, SOURCES_FILE, plate_folder
from phenoscale.screens.writer import PlateFormat, PlateWriter, read_plate
from phenoscale.stages import Output

_SHOWN_REASONS: Final = 5


@dataclass(frozen=True)
class PixelSettings:
    """What the config says of the pixels; None and "" mean: as the images are.

    Attributes:
        dtype: pixel type.
        height: pixel rows of a field.
        width: pixel columns of a field.
        intensity_scale: what pixel values are divided by.
        pixel_size_um: edge of a pixel in micrometers.
        saturation_level: share of the pixel type's largest value from which on a pixel is saturated.
    """

    dtype: str
    height: int | None
    width: int | None
    intensity_scale: float | None
    pixel_size_um: float | None
    saturation_level: float


@dataclass(frozen=True)
class IngestedPlate:
    """A finished plate, its pixel format, the rows that were quarantined, and what was read for it now.

    `num_bytes_read` is None for a plate that was found and not read.
    """

    entry: PlateEntry
    format: PlateFormat
    quarantined: pd.DataFrame
    num_bytes_read: int | None = None


@dataclass(frozen=True)
class PlateIngest:
    """Makes plates of one plan into one output.

    Attributes:
        output: where the store is built.
        plan: says where the images lie.
        listing: size and time (or etag) of every file of the plan, as they were before any was read.
        settings: what the config says of the pixels.
        executor: threads to read and decode in.
        window: groups of fields that may be decoded ahead.
    """

    output: Output
    plan: IngestPlan
    listing: Mapping[str, str]
    settings: PixelSettings
    executor: Executor
    window: int

    def plate(self, wells: pd.DataFrame, *, dtype: str) -> IngestedPlate:
        """Return one plate: found, where an ingest has made it of the same files before, else written.

        Args:
            wells: the plate's rows of the well table.
            dtype: the pixel type of the screen, "" while no plate has decided it.

        Raises:
            UserError: none of the plate's images can be used.
            RetryError: a file changed while it was read.
        """
        part = "/".join(quote(str(wells[name].iloc[0]), safe=" ") for name in PLATE_KEY)
        listing = {name: self.listing[name] for name in sorted(files_of(wells["image"]))}
        sources = SourceFiles(self.plan.base, listing=listing)
        request = self._request(wells, sources=sources)
        folder = plate_folder(str(wells["experiment"].iloc[0]), str(wells["plate"].iloc[0]))
        if self.output.has(part) or self.output.adopt(part, request=request):
            place = self.output.fetch(part) / folder
            entry, pixels = read_plate(place)
            if pixels.dtype == (dtype or pixels.dtype):
                return IngestedPlate(entry, pixels, quarantined=pd.read_parquet(place / QUARANTINE_FILE))
            # it was made where another plate, of another pixel type, came first
            self.output.withdraw(part)
        plate = self._write(wells, dtype=dtype, sources=sources)
        self.output.publish(part, [folder], request=request)
        return plate

    def _request(self, wells: pd.DataFrame, *, sources: SourceFiles) -> str:
        rows = {str(name): [str(value) for value in wells[name]] for name in wells.columns}
        plan = self.plan
        how = [self.output.sources_digest, plan.channels, plan.planes, plan.num_planes, asdict(self.settings)]
        return digest_json([*how, rows, sources.listing])

    def _write(self, wells: pd.DataFrame, *, dtype: str, sources: SourceFiles) -> IngestedPlate:
        expected = _expected_format(wells, settings=self.settings, dtype=dtype, sources=sources)
        pixels = PlateFormat(
            channels=self.plan.channels,
            dtype=expected.dtype,
            height=expected.height,
            width=expected.width,
            intensity_scale=self.settings.intensity_scale or float(np.iinfo(expected.dtype).max),
            pixel_size_um=self.settings.pixel_size_um,
        )
        writer = PlateWriter(self.output.folder, wells=wells, format=pixels)
        reasons: dict[int, str] = {}
        for field in decode_fields(
            self.plan,
            wells["image"].tolist(),
            sources=sources,
            expected=expected,
            saturation_level=self.settings.saturation_level,
            executor=self.executor,
            window=self.window,
        ):
            if field.pixels is None or field.measures is None:
                reasons[field.row] = field.reason
            else:
                writer.append(field.row, field.pixels, measures=field.measures)
        if len(reasons) == len(wells):
            raise UserError(_all_bad(wells, reasons=list(reasons.values())))
        sources.check_unchanged()
        quarantined = _quarantined(wells, reasons=reasons)
        files = pd.DataFrame({"file": list(sources.digests), "digest": list(sources.digests.values())})
        quarantined.to_parquet(writer.folder / QUARANTINE_FILE, index=False)
        files.astype("str").to_parquet(writer.folder / SOURCES_FILE, index=False)
        entry = writer.commit(source_digest=digest_json(sources.digests))
        return IngestedPlate(entry, pixels, quarantined=quarantined, num_bytes_read=sources.num_bytes_read)


def _expected_format(
    wells: pd.DataFrame, *, settings: PixelSettings, dtype: str, sources: SourceFiles
) -> FieldFormat:
    found = probe_format(wells["image"].tolist(), sources=sources)
    if not isinstance(found, FieldFormat):
        raise UserError(_all_bad(wells, reasons=found))
    dtype = settings.dtype or dtype or found.dtype
    check_dtype(dtype)
    return FieldFormat(settings.height or found.height, settings.width or found.width, dtype)


def _all_bad(wells: pd.DataFrame, *, reasons: list[str]) -> str:
    experiment, plate = wells["experiment"].iloc[0], wells["plate"].iloc[0]
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
