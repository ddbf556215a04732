"""What an ingest reads: a parsed well table, the channels' order, and the place that locators start from."""

from __future__ import annotations

from dataclasses import dataclass

from phenoscale.schema.wells import WellTable


@dataclass(frozen=True)
class IngestPlan:
    """What a source layout was understood to hold.

    Attributes:
        wells: one row per field; `image` holds one locator per channel, or one of a multi-channel image.
        channels: stain names in the order of `image`.
        base: folder or S3 prefix that relative locators start from.
        planes: for multi-channel images, the plane of each channel; empty with one locator per channel.
        num_planes: planes that a multi-channel image must have.
        intensity_scale: what the source says pixel values are divided by, if it says so.
    """

    wells: WellTable
    channels: tuple[str, ...]
    base: str
    planes: tuple[int, ...] = ()
    num_planes: int = 1
    intensity_scale: float | None = None
