"""Source `table`: a CSV or Parquet table, one row per field, with a column of image locators per channel."""

from __future__ import annotations

import io
from typing import Any, Final

import pandas as pd

from phenoscale.config import require
from phenoscale.errors import UserError
from phenoscale.schema.screen import channel_indices, check_channels
from phenoscale.schema.wells import COLUMNS, FLAG_COLUMNS, TEXT_COLUMNS, nearest_name, parse_wells
from phenoscale.screens.ingest.config import IngestConfig
from phenoscale.screens.ingest.plan import IngestPlan
from phenoscale.storage import read_uri

IMAGE_PREFIX: Final = "image_"
DEFAULT_TABLE: Final = "fields.csv"
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


def chosen_channels(config: IngestConfig, *, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the channels to take, in order: those asked for, else all that the source has.

    Raises:
        UserError: one that was asked for is not known, or is named twice.
    """
    channels = tuple(config.channels) or known
    check_channels(channels)
    channel_indices(channels, known=known)
    return channels


def table_place(config: IngestConfig) -> str:
    """Return where the table is: `table`, or `fields.csv` under `path`."""
    return config.table or f"{require(config, 'path', verb='ingest').rstrip('/')}/{DEFAULT_TABLE}"


def image_base(config: IngestConfig) -> str:
    """Return the folder or prefix that locators start from: `path`, or the folder of the table."""
    return config.path or config.table.rpartition("/")[0] or "."


def read_table(place: str, *, renamed: dict[str, str]) -> pd.DataFrame:
    """Read a CSV or Parquet table; names and addresses stay text (a plate 0012 keeps its zeros).

    Args:
        place: local path or S3 object, `.parquet` or CSV.
        renamed: well table column to the name that it has in this table.

    Raises:
        UserError: the table is missing or unreadable, or has no column that `renamed` names.
    """
    content = io.BytesIO(read_uri(place))
    text = {renamed.get(name, name): "str" for name in (*TEXT_COLUMNS, *FLAG_COLUMNS)}
    try:
        if place.endswith((".parquet", ".pq")):
            frame = pd.read_parquet(content)
        else:
            compression: Any = "gzip" if place.endswith(".gz") else None
            # only an empty cell is a missing value: NA and None are names of genes and compounds
            frame = pd.read_csv(
                content, dtype=text, keep_default_na=False, na_values=[""], compression=compression
            )
    except (ValueError, OSError) as error:
        raise UserError(
            f"{place} is no CSV or Parquet table ({error}); give the table of the fields"
        ) from error
    return _renamed(frame, renamed=renamed, source=place)


def _renamed(frame: pd.DataFrame, *, renamed: dict[str, str], source: str) -> pd.DataFrame:
    present = [str(name) for name in frame.columns]
    for ours, theirs in renamed.items():
        if theirs not in present:
            raise UserError(_no_column(theirs, asked_by=f"columns.{ours}", present=present, source=source))
    # a mapped column takes the place of one that already has its name
    shadowed = [ours for ours, theirs in renamed.items() if ours in present and ours != theirs]
    frame = frame.drop(columns=shadowed)
    return frame.rename(columns={theirs: ours for ours, theirs in renamed.items()})


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
            raise UserError(_no_column(column, asked_by=asked, present=present, source=source))
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


def _no_column(name: str, *, asked_by: str, present: list[str], source: str) -> str:
    near = nearest_name(name, present)
    hint = f"; the nearest is {near!r}" if near else ""
    return (
        f"{source}: {asked_by} names column {name!r}, which is not there{hint}. Present: {', '.join(present)}"
    )
