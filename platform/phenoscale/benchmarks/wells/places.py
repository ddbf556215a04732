"""Where the table of a level lies in the output of `embed`."""

from __future__ import annotations

from pathlib import Path

from phenoscale.schema.embeddings import table_of_level


def place_of_wells(place: str) -> Path:
    """The wells of an output, or the table itself."""
    return table_of_level(place, level="well")


def place_of_fields(place: str) -> Path:
    """The fields of an output, else its wells, or the table itself.

    A protocol that scales fields before it averages them to wells, and counts crops, wants these.
    """
    fields = table_of_level(place, level="field")
    return fields if fields != Path(place) else place_of_wells(place)
