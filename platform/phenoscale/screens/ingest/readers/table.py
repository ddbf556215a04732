"""Source `table`: a CSV or Parquet table, one row per field, with a column of image locators per channel."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from phenoscale.errors import UserError
from phenoscale.schema.screen import channel_indices
from phenoscale.schema.wells import COLUMNS, nearest_name, parse_wells
from phenoscale.screens.ingest.config import IngestConfig
from phenoscale.screens.ingest.foreign_table import (
    chosen_channels,
    image_base,
    no_column,
    read_table,
    table_place,
)
from phenoscale.screens.ingest.plan import IngestPlan

IMAGE_PREFIX: Final = "image_"
DEFAULT_SCREEN: Final = "screen"


def plan_table(config: IngestConfig) -> IngestPlan:
    """Read the table of a generic screen.

    Raises:
        UserError: a column or channel is missing or unknown, or rows break the rules of a well table.
    """
    place = table_place(config)
    frame = read_table(place, renamed=config.columns)
    channel_columns = _channel_columns(frame, config=config, source=place)
    known = tuple(channel_columns) or _stack_channels(frame, config=config, source=place)
    channels = chosen_channels(config, known=known)
    wells = _with_screen(_with_constants(frame, config=config, source=place), config=config)
    wells["image"] = _locators(frame, channel_columns=channel_columns, channels=channels)
    wells["channels"] = "|".join(channels)
    wells = wells.drop(columns=[name for name in channel_columns.values() if name != "image"])
    planes = () if channel_columns else channel_indices(channels, known=known)
    parsed = parse_wells(wells, source=place)
    return IngestPlan(
        parsed, channels=channels, base=image_base(config), planes=planes, num_planes=len(known)
    )


def _with_constants(frame: pd.DataFrame, *, config: IngestConfig, source: str) -> pd.DataFrame:
    unknown = [name for name in config.constants if name not in COLUMNS]
    if unknown:
        near = nearest_name(unknown[0], COLUMNS)
        hint = f"; did you mean {near!r}?" if near else f"; the columns are {', '.join(COLUMNS)}"
        raise UserError(f"{source}: constants.{unknown[0]} is not a column of a well table{hint}")
    return frame.assign(**config.constants)


def _with_screen(frame: pd.DataFrame, *, config: IngestConfig) -> pd.DataFrame:
    if config.screen or "screen" not in frame.columns:
        return frame.assign(screen=config.screen or DEFAULT_SCREEN)
    return frame.copy()


def _channel_columns(frame: pd.DataFrame, *, config: IngestConfig, source: str) -> dict[str, str]:
    """Return channel name to locator column; empty when one column `image` holds multi-channel images."""
    present = [str(name) for name in frame.columns]
    for channel, column in config.image_columns.items():
        if column not in present:
            asked = f"image_columns.{channel}"
            raise UserError(no_column(column, asked_by=asked, present=present, source=source))
    if config.image_columns:
        return dict(config.image_columns)
    found = {name.removeprefix(IMAGE_PREFIX): name for name in present if name.startswith(IMAGE_PREFIX)}
    if not found and "image" not in present:
        raise UserError(
            f"{source}: there is no column of image locators; name them {IMAGE_PREFIX}CHANNEL, one per "
            f"channel, or map them with `image_columns: {{DNA: column}}`. Present: {', '.join(present)}"
        )
    return found


def _stack_channels(frame: pd.DataFrame, *, config: IngestConfig, source: str) -> tuple[str, ...]:
    """Return the channels of multi-channel images: the table's column `channels`, else the config's."""
    named = frame["channels"].dropna().unique().tolist() if "channels" in frame.columns else []
    if len(named) > 1:
        raise UserError(
            f"{source}: `channels` differs between rows ({named[0]}, {named[1]}); ingest them apart"
        )
    if not named and not config.channels:
        raise UserError(
            f"{source}: `image` holds multi-channel images, but nothing names their channels; list them in "
            "`channels`, in the order of the images' planes"
        )
    return tuple(str(named[0]).split("|")) if named else tuple(config.channels)


def _locators(
    frame: pd.DataFrame, *, channel_columns: dict[str, str], channels: tuple[str, ...]
) -> pd.Series[Any]:
    columns = [channel_columns[channel] for channel in channels] if channel_columns else ["image"]
    cells = frame[columns].astype(object).where(frame[columns].notna(), "")
    return pd.Series(
        [[str(cell) for cell in row] for row in cells.to_numpy()], index=frame.index, dtype=object
    )
