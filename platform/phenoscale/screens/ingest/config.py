"""Settings of `ingest`: where the images and their table are, and what the pixels mean."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from phenoscale.config import Config, Runtime, location, setting
from phenoscale.screens.ingest.readers.known import READERS


class IngestConfig(Config):
    """Turn the image files of a screen into a screen store, plate by plate; bad images are quarantined.

    Source `table` reads a CSV or Parquet table with one row per field of view (or cell crop), the columns of
    a well table, and one column of image locators per channel (`image_DNA`, `image_ER`, ...) or one column
    `image` of multi-channel images. Source `bbbc021` reads the BBBC021 single-cell crops.
    """

    source: str = setting("table", help=f"layout of the source: {' | '.join(READERS)}")
    path: str = location(
        in_place=True,
        help="folder or s3:// prefix that holds all the images; the table's folder by default",
    )
    table: str = location(
        in_place=True, help="CSV or Parquet table of the fields; PATH/fields.csv by default"
    )
    screen: str = setting(
        "", help="name of the screen; by default the table's column `screen`, else `screen`"
    )
    channels: list[str] = setting(
        default_factory=list, help="channels to take, in this order; all of the table by default"
    )
    columns: dict[str, str] = setting(
        default_factory=dict, help="well table column to the name it has in this table (gene=target_gene)"
    )
    constants: dict[str, str] = setting(
        default_factory=dict, help="well table column to a value that it has in every row (cell_type=HUVEC)"
    )
    image_columns: dict[str, str] = setting(
        default_factory=dict, help="channel to the column that holds its locators; image_CHANNEL by default"
    )
    dtype: Literal["", "uint8", "uint16"] = setting("", help="pixel type; by default that of the first plate")
    field_height_px: int | None = setting(
        None, ge=1, help="pixel rows of a field; by default most of a plate's"
    )
    field_width_px: int | None = setting(
        None, ge=1, help="pixel columns of a field; by default as for the rows"
    )
    intensity_scale: float | None = setting(
        None, gt=0, help="pixel values are divided by this; by default the largest value of the pixel type"
    )
    pixel_size_um: float | None = setting(None, gt=0, help="edge of a pixel in micrometers")
    saturation_level: float = setting(
        0.999, gt=0, le=1, help="a pixel is saturated from this share of the pixel type's largest value on"
    )
    max_quarantined_fraction: float = setting(
        0.05, ge=0, le=1, help="the ingest fails when more of the screen's fields than this are bad"
    )
    runtime: Runtime = Runtime()

    @field_validator("source")
    @classmethod
    def _is_a_reader(cls, source: str) -> str:
        if source not in READERS:
            raise ValueError(f"there is no such reader; choose one of {', '.join(READERS)}")
        return source
