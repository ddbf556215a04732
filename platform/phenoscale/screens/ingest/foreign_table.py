"""What readers share: the table of a source, where it lies, and the channels that are taken from it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Final

import pandas as pd

from phenoscale.config import require
from phenoscale.errors import UserError
from phenoscale.schema.screen import channel_indices, check_channels
from phenoscale.schema.wells import FLAG_COLUMNS, TEXT_COLUMNS, nearest_name
from phenoscale.screens.ingest.config import IngestConfig
from phenoscale.storage import read_uri

DEFAULT_TABLE: Final = "fields.csv"


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
            raise UserError(no_column(theirs, asked_by=f"columns.{ours}", present=present, source=source))
    # a mapped column takes the place of one that already has its name
    shadowed = [ours for ours, theirs in renamed.items() if ours in present and ours != theirs]
    frame = frame.drop(columns=shadowed)
    return frame.rename(columns={theirs: ours for ours, theirs in renamed.items()})


def no_column(name: str, *, asked_by: str, present: Sequence[str], source: str) -> str:
    """Say that a column which a setting names is not in the table."""
    near = nearest_name(name, present)
    hint = f"; the nearest is {near!r}" if near else ""
    return (
        f"{source}: {asked_by} names column {name!r}, which is not there{hint}. Present: {', '.join(present)}"
    )
