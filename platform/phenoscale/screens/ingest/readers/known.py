"""Every reader by name: `module:function`, imported when a config names it. Add yours here."""

from __future__ import annotations

from typing import Final

_HERE: Final = "phenoscale.screens.ingest.readers"

READERS: Final[dict[str, str]] = {
    "table": f"{_HERE}.table:plan_table",
    "bbbc021": f"{_HERE}.bbbc021:plan_bbbc021",
}
