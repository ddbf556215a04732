"""Small screens written through the real plate writer: genes with guides, negative and positive controls."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from phenoscale.schema.addresses import format_address
from phenoscale.schema.manifest import Manifest, StoreRef, write_manifest
from phenoscale.schema.screen import PlateEntry, ScreenHeader
from phenoscale.schema.wells import parse_wells
from phenoscale.screens.quality import measure_field
from phenoscale.screens.store import open_screen, united_channels
from phenoscale.screens.writer import PlateFormat, PlateWriter, write_header

CHANNELS = ("DNA", "ER", "RNA", "AGP", "Mito", "Actin")
NEGATIVE_CONTROL = "non-targeting"
POSITIVE_CONTROL = "PLK1"


def make_tiny_store(
    folder,
    *,
    num_experiments=2,
    num_plates=2,
    num_genes=3,
    guides_per_gene=2,
    num_negative_controls=4,
    num_sites=1,
    channels=3,
    size=40,
    dtype="uint16",
    seed=0,
    screen="tiny",
):
    """Write a screen store of square fields into `folder` and return its path.

    `channels` is their number or their names, `screen` the name that makes fields of two stores different.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = CHANNELS[:channels] if isinstance(channels, int) else tuple(channels)
    pixel_format = PlateFormat(
        channels=names,
        dtype=dtype,
        height=size,
        width=size,
        intensity_scale=float(np.iinfo(dtype).max),
        pixel_size_um=0.65,
    )
    entries: list[PlateEntry] = []
    for experiment in range(num_experiments):
        for plate in range(num_plates):
            frame = tiny_plate(
                f"E{experiment + 1}",
                f"P{plate + 1}",
                num_genes=num_genes,
                guides_per_gene=guides_per_gene,
                num_negative_controls=num_negative_controls,
                num_sites=num_sites,
            )
            frame = frame.assign(screen=screen, channels="|".join(names))
            wells = parse_wells(frame, source="tiny screen").frame
            pixels = (
                tiny_pixels(well, num_channels=len(names), size=size, dtype=dtype, seed=seed)
                for well in wells.itertuples()
            )
            entries.append(write_plate(folder, wells, pixels=pixels, format=pixel_format))
    write_store_header(folder, entries, format=pixel_format, screen=screen)
    return folder


def write_plate(folder, wells, *, pixels, format):
    """Write a plate whole, measuring every field; None in place of pixels drops a row. Return its entry."""
    writer = PlateWriter(Path(folder), wells=wells, format=format)
    for row, field in enumerate(pixels):
        if field is not None:
            writer.append(row, field, measures=measure_field(field))
    return writer.commit()


def write_store_header(folder, entries, *, format, screen="tiny"):
    """Write the header that makes written plates a store."""
    header = ScreenHeader(
        screen=screen,
        channels=format.channels,
        dtype=format.dtype,
        intensity_scale=format.intensity_scale,
        pixel_size_um=format.pixel_size_um,
        plates=tuple(entries),
    )
    write_header(Path(folder), header)


def tiny_plate(experiment, plate, *, num_genes=3, guides_per_gene=2, num_negative_controls=4, num_sites=1):
    """Return the well table of one plate: negative controls, a positive control, guides of genes."""
    contents = [_negative_control() for _ in range(num_negative_controls)] + [_guide(POSITIVE_CONTROL, 1)]
    contents += [_guide(f"GENE{g + 1}", k + 1) for g in range(num_genes) for k in range(guides_per_gene)]
    rows = []
    for index, content in enumerate(contents):
        # contents move from plate to plate, so that position and perturbation are not confounded
        place = (index + zlib.crc32(f"{experiment}/{plate}".encode())) % max(len(contents), 24)
        address = format_address(place // 24, place % 24)
        for site in range(num_sites):
            key = {
                "screen": "tiny",
                "experiment": experiment,
                "plate": plate,
                "well": address,
                "site": site + 1,
            }
            rows.append({**key, "cell_type": "HUVEC", "timepoint_h": 72.0, **content})
    return pd.DataFrame(rows)


def tiny_pixels(well, *, num_channels, size, dtype, seed):
    """Draw one field: bright spots on a dim ground, whose number and brightness depend on the gene."""
    rng = np.random.default_rng([seed, int(well.field_id[:8], 16)])
    gene = zlib.crc32(well.gene.encode()) % 7
    y, x = np.mgrid[:size, :size]
    scale = np.iinfo(dtype).max
    pixels = np.empty((num_channels, size, size))
    for channel in range(num_channels):
        ground = 0.05 + 0.01 * rng.random((size, size))
        for _ in range(4 + gene):
            top, left = rng.uniform(0, size, 2)
            width = 2.0 + channel
            ground += 0.1 * (1 + 0.2 * gene) * np.exp(-((y - top) ** 2 + (x - left) ** 2) / (2 * width**2))
        pixels[channel] = ground
    return np.clip(pixels * scale, 0, scale).astype(dtype)


def make_tiny_manifest(folder, *stores, validation_experiments=("E2",), test_experiments=()):
    """Write a manifest of every field of some stores, split by experiment; returns its folder."""
    opened = [open_screen(store) for store in stores]
    fields = []
    for index, store in enumerate(opened):
        wells = store.wells
        split = np.full(len(wells), "train", dtype=object)
        split[wells["experiment"].isin(validation_experiments).to_numpy()] = "validation"
        split[wells["experiment"].isin(test_experiments).to_numpy()] = "test"
        columns = {"field_id": wells["field_id"], "store": index, "split": split.astype(str), "weight": 1.0}
        fields.append(pd.DataFrame(columns))
    refs = tuple(
        StoreRef(uri=str(path), digest=store.digest) for path, store in zip(stores, opened, strict=True)
    )
    folder, frame = Path(folder), pd.concat(fields, ignore_index=True)
    write_manifest(folder, Manifest(stores=refs, channels=united_channels(opened), fields=frame))
    return folder


def _negative_control():
    return {
        "perturbation": NEGATIVE_CONTROL,
        "perturbation_type": "control",
        "control_type": "negative",
        "gene": "",
        "guide": "",
        "is_negative_control": True,
        "is_positive_control": False,
    }


def _guide(gene, number):
    return {
        "perturbation": gene,
        "perturbation_type": "crispr",
        "control_type": "positive" if gene == POSITIVE_CONTROL else "",
        "gene": gene,
        "guide": f"{gene}_guide_{number}",
        "is_negative_control": False,
        "is_positive_control": gene == POSITIVE_CONTROL,
    }
