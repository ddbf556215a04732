"""Real BBBC021 data as embedding tables: pixel statistics of crops, and CellProfiler well profiles."""

import numpy as np
import pandas as pd
import tifffile

from phenoscale.schema.embeddings import EmbeddingTable

_IMAGE_COLUMNS = {
    "Image_Metadata_Plate_DAPI": "plate",
    "Image_Metadata_Well_DAPI": "well",
    "Image_Metadata_Compound": "perturbation",
    "Image_Metadata_Concentration": "concentration_um",
}
_INNER = slice(2, 66)


def crop_statistics(folder, *, query="index >= 0"):
    """Mean, deviation, minimum, maximum, median of each channel of the raw crops that a query selects."""
    index = pd.read_csv(folder / "index.csv.gz").query(query).reset_index(drop=True)
    vectors = np.empty((len(index), 15))
    for path, rows in index.groupby("path").indices.items():
        first_pages = 3 * index["index"].to_numpy()[rows]
        pages = tifffile.imread(
            folder / path, key=[page for first in first_pages for page in range(first, first + 3)]
        )
        pixels = pages[..., _INNER, _INNER].reshape(len(rows), 3, -1).astype(np.float64)
        parts = [pixels.mean(-1), pixels.std(-1), pixels.min(-1), pixels.max(-1), np.median(pixels, -1)]
        vectors[rows] = np.stack(parts, axis=2).reshape(len(rows), -1)
    frame = index[["plate", "well", "site", "perturbation", "concentration_um", "moa"]].assign(
        experiment=index["batch"], is_negative_control=index["is_control"] == 1
    )
    return EmbeddingTable(frame, vectors, "crop")


def well_profiles(folder):
    """The 632 well profiles with treatment and mechanism, every feature z-scored over the wells."""
    profiles = pd.read_csv(folder / "well_profiles_ljosa2013.csv.gz")
    wells = pd.read_csv(folder / "BBBC021_v1_image.csv.gz", usecols=list(_IMAGE_COLUMNS))
    moa = pd.read_csv(folder / "BBBC021_v1_moa.csv").set_axis(
        ["perturbation", "concentration_um", "moa"], axis=1
    )
    keys = profiles[["Image_Metadata_Plate", "Image_Metadata_Well"]].set_axis(["plate", "well"], axis=1)
    treatments = wells.rename(columns=_IMAGE_COLUMNS).drop_duplicates()
    frame = keys.merge(treatments, how="left", validate="1:1").merge(moa, how="left")
    frame = frame.assign(
        experiment=frame["plate"].str.split("_").str[0], is_negative_control=frame["perturbation"] == "DMSO"
    )
    vectors = profiles.drop(columns=["Image_Metadata_Plate", "Image_Metadata_Well"]).to_numpy(np.float64)
    return EmbeddingTable(frame, (vectors - vectors.mean(axis=0)) / vectors.std(axis=0), "well")
