"""Readers of source layouts, one file each: `plan(config)` says which files make which fields of a screen."""

from __future__ import annotations

from typing import Final

# add here: a reader's name, and its module and function
READERS: Final[dict[str, str]] = {
    "table": "phenoscale.screens.ingest.readers.table:plan_table",
    "bbbc021": "phenoscale.screens.ingest.readers.bbbc021:plan_bbbc021",
}
