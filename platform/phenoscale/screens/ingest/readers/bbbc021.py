"""Source `bbbc021`: single-cell crops of the Broad image set BBBC021 (Caie et al. 2010; Ljosa et al. 2013).

A crop is an object of its field: `object` is the cell's index. The experiment is the week. DMSO is the
negative control; some plates have no crop of it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from phenoscale.config import require
from phenoscale.errors import UserError
from phenoscale.schema.keys import FIELD_KEY
from phenoscale.schema.screen import channel_indices
from phenoscale.schema.wells import parse_wells
from phenoscale.screens.ingest.config import IngestConfig
from phenoscale.screens.ingest.foreign_table import chosen_channels, read_table
from phenoscale.screens.ingest.plan import IngestPlan

INDEX_FILE: Final = "index.csv.gz"
NEGATIVE_CONTROL: Final = "DMSO"
# 12-bit camera values were stored times 16
INTENSITY_SCALE: Final = 65535.0
_COLUMNS: Final = {"experiment": "batch", "object": "cell_index"}
_NEEDED: Final = (
    "path", "index", *FIELD_KEY[1:], "channels", "perturbation", "concentration_um", "moa", "is_control",
)  # fmt: skip


def plan_bbbc021(config: IngestConfig) -> IngestPlan:
    """Read the index of the crops.

    Raises:
        UserError: the index is missing or not the expected one.
    """
    base = require(config, "path", verb="ingest")
    source = f"{base.rstrip('/')}/{INDEX_FILE}"
    index = read_table(source, renamed=_COLUMNS)
    missing = [name for name in _NEEDED if name not in index.columns]
    if missing:
        raise UserError(
            f"{source} has no column {missing[0]!r}; give the folder of the BBBC021 crops as `path`"
        )
    known = tuple(str(index["channels"].iloc[0]).split("|"))
    channels = chosen_channels(config, known=known)
    is_control = index["is_control"].astype(str).isin(["1", "True"]).to_numpy()
    wells = pd.DataFrame(
        {
            "screen": config.screen or "BBBC021",
            "source": "BBBC021v1",
            "cell_type": "MCF7",
            "timepoint_h": 24.0,
            "experiment": index["experiment"],
            "plate": index["plate"],
            "well": index["well"],
            "site": index["site"],
            "object": index["object"],
            "perturbation": index["perturbation"],
            "perturbation_type": np.where(is_control, "control", "compound"),
            "compound": index["perturbation"],
            "concentration_um": index["concentration_um"],
            "is_negative_control": is_control,
            "control_type": np.where(is_control, "negative", ""),
            "channels": "|".join(channels),
            "image": [
                [f"{path}#index={item}"] for path, item in zip(index["path"], index["index"], strict=True)
            ],
            "moa": index["moa"],
        }
    )
    return IngestPlan(
        parse_wells(wells, source=source),
        channels=channels,
        base=base,
        planes=channel_indices(channels, known=known),
        num_planes=len(known),
        intensity_scale=INTENSITY_SCALE,
    )
