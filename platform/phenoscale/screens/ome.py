"""The metadata of a plate of fields as an OME-Zarr 0.5 HCS plate: groups of the plate, its wells and images.

What a viewer needs is here: rows, columns and wells, axes with the pixel size, and for every channel a name,
a color and the gray levels to show. Specification: https://ngff.openmicroscopy.org/0.5.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from phenoscale.schema.addresses import format_address, split_address
from phenoscale.screens.layout import well_path

VERSION: Final = "0.5"
# wells of the plates that are made: 96, 384 and 1536
_PLATES: Final = ((8, 12), (16, 24), (32, 48))
_COLORS: Final = ("0000FF", "00FF00", "FF0000", "FFFF00", "FF00FF", "00FFFF", "FFFFFF")


def plate_group(
    images: Mapping[str, Sequence[int]], *, name: str, all_wells: Sequence[str], attributes: Mapping[str, Any]
) -> bytes:
    """Return the metadata of a plate.

    Args:
        images: well address to the sites that were imaged there.
        name: the plate's name.
        all_wells: every well that the plate is known to have: the smallest plate that holds them is assumed.
        attributes: what else is known of the plate.
    """
    places = [split_address(well) for well in all_wells]
    num_rows, num_columns = next(
        (rows, columns)
        for rows, columns in _PLATES
        if all(row < rows and column < columns for row, column in places)
    )
    plate = {
        "name": name,
        "rows": [{"name": format_address(row, 0).removesuffix("01")} for row in range(num_rows)],
        "columns": [{"name": str(column + 1)} for column in range(num_columns)],
        "field_count": max(len(sites) for sites in images.values()),
        "wells": [_well(well) for well in sorted(images, key=split_address)],
    }
    return _group({"plate": plate}, attributes=attributes)


def well_group(sites: Sequence[int]) -> bytes:
    """Return the metadata of a well with its images."""
    return _group({"well": {"images": [{"path": str(site)} for site in sorted(sites)]}})


def image_group(
    channels: Sequence[str], *, pixel_size_um: float | None, windows: Sequence[tuple[int, int]], largest: int
) -> bytes:
    """Return the metadata of a field's image.

    Args:
        channels: stain names.
        pixel_size_um: edge of a pixel in micrometers, where known.
        windows: for each channel the gray levels that are shown black and full.
        largest: the largest gray level that there can be.
    """
    unit = {} if pixel_size_um is None else {"unit": "micrometer"}
    scale = [1.0, pixel_size_um or 1.0, pixel_size_um or 1.0]
    axes = [{"name": "c", "type": "channel"}, *({"name": name, "type": "space", **unit} for name in "yx")]
    dataset = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}
    shown = [
        {
            "label": channel,
            "color": _COLORS[number % len(_COLORS)],
            "active": True,
            "window": {"min": 0, "max": largest, "start": start, "end": end},
        }
        for number, (channel, (start, end)) in enumerate(zip(channels, windows, strict=True))
    ]
    return _group({"multiscales": [{"axes": axes, "datasets": [dataset]}], "omero": {"channels": shown}})


def array_metadata(metadata: Mapping[str, Any], *, attributes: Mapping[str, Any] | None = None) -> bytes:
    """Return the metadata file of an array."""
    return _text({**metadata, "attributes": dict(attributes or {})})


def _well(well: str) -> dict[str, Any]:
    row, column = split_address(well)
    return {"path": well_path(well), "rowIndex": row, "columnIndex": column}


def _group(ome: Mapping[str, Any], *, attributes: Mapping[str, Any] | None = None) -> bytes:
    content = {"ome": {"version": VERSION, **ome}, **(attributes or {})}
    return _text({"zarr_format": 3, "node_type": "group", "attributes": content})


def _text(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
