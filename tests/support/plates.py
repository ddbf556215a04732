"""Small plates as a microscope leaves them: image files and a table, ready to be ingested."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from PIL import Image

from tests.support.screens import tiny_plate


def make_plate_files(
    folder,
    *,
    plates=(("E1", "P1"), ("E1", "P2")),
    channels=("DNA", "ER"),
    suffix="tif",
    size=24,
    num_genes=1,
    brightness=0,
):
    """Write `fields.csv` and one image file per field and channel; return the table."""
    folder = Path(folder)
    frames = []
    for experiment, plate in plates:
        frame = tiny_plate(experiment, plate, num_genes=num_genes)
        for channel in channels:
            frame[f"image_{channel}"] = [
                f"images/{experiment}/{plate}/{well}_{channel}.{suffix}" for well in frame["well"]
            ]
            for name in frame[f"image_{channel}"]:
                write_image(folder / name, plate_pixels(name, size=size) + np.uint16(brightness))
        frames.append(frame)
    table = pd.concat(frames, ignore_index=True)
    table.to_csv(folder / "fields.csv", index=False)
    return table


def plate_pixels(name, *, size=24):
    """Return the pixels of one image file: noise that its name decides."""
    seed = [ord(letter) for letter in Path(name).with_suffix("").as_posix()]
    return np.random.default_rng(seed).integers(0, 4000, (size, size), dtype=np.uint16)


def write_image(path, pixels):
    """Write an image file of the kind that its suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels, photometric="minisblack")
    else:
        Image.fromarray(pixels).save(path)
