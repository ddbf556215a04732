"""Whether wells were corrected by what was fitted on the negative controls that they are tested against.

Such controls are closer to each other than any other well is to them (`magnitude` has the numbers), so that
tests of perturbations against them are too eager. Rows say it in `fitted_on_controls`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from phenoscale.logs import get_logger
from phenoscale.mapping.stage import CORRECTED_FOLDER
from phenoscale.schema.embeddings import table_of_level
from phenoscale.schema.maps import HEADER_FILE
from phenoscale.schema.readable import readable

_CONTROLS: Final = "negative_controls"
_ALWAYS_ON_CONTROLS: Final = "tvn"

logger = get_logger(__name__)


def control_fit(place: str | Path, *, verb: str) -> dict[str, str]:
    """The setting that says which steps were fitted on controls, with a warning; empty where none is known.

    Args:
        place: the wells, known to be corrected where they are the folder `corrected` of a map.
        verb: who tests against controls, for the warning.

    Raises:
        UserError: the steps of the map cannot be read.
    """
    folder = table_of_level(place, level="well")
    header = folder.parent / HEADER_FILE
    if folder.name != CORRECTED_FOLDER or not header.is_file():
        return {}
    with readable(header, holds="the steps of a map", kind="readable JSON", way_out="make the map again"):
        steps = dict(json.loads(header.read_text(encoding="utf-8"))).get("steps", [])
    names = ", ".join(_fitted_on_controls(steps))
    if not names:
        return {}
    logger.warning(
        "%s: %s were corrected by %s, fitted on the negative controls that they are compared with, which "
        "finds too much; give uncorrected wells, or fit the map with statistics: all",
        verb,
        place,
        names,
    )
    return {"fitted_on_controls": names}


def _fitted_on_controls(steps: list[Mapping[str, Any]]) -> Iterator[str]:
    """Of the steps before wells become perturbations."""
    for step in steps:
        if step["name"] == "aggregate":
            return
        if step["name"] == _ALWAYS_ON_CONTROLS or step.get("settings", {}).get("statistics") == _CONTROLS:
            yield str(step["name"])
