"""Measure and flag every field of the stores, plate by plate; a plate that was measured is not read again."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from phenoscale.curation.config import QualityConfig
from phenoscale.curation.quality import FieldMeasures, flag_plate, measure_field
from phenoscale.files import written_whole
from phenoscale.logs import Progress
from phenoscale.schema.keys import FIELD_KEY
from phenoscale.screens.ordered import in_order
from phenoscale.screens.store import ScreenStore

QUALITY_FOLDER: Final = "quality"
FLAGS: Final = ("is_empty", "is_saturated", "is_out_of_focus")


def measure_stores(
    folder: Path, stores: Sequence[ScreenStore], *, rules: QualityConfig, executor: Executor, bar: Progress
) -> pd.DataFrame:
    """Write `quality/*.parquet`, one file per plate, and return the flags of every field.

    Args:
        folder: the manifest's folder.
        stores: the stores to measure.
        rules: thresholds; with all of them off no pixel is read.
        executor: threads to measure in.
        bar: counts fields.

    Returns:
        Columns `field_id` and `FLAGS`.
    """
    flags = []
    for number, store in enumerate(stores):
        for plate_index, wells in store.wells.groupby("plate_index", sort=True):
            file = folder / QUALITY_FOLDER / f"store{number}_plate{int(str(plate_index)):05d}.parquet"
            if not _is_needed(rules):
                frame = wells[["field_id"]].assign(**dict.fromkeys(FLAGS, False))
            elif file.is_file():
                frame = pd.read_parquet(file)
            else:
                frame = _measure_plate(store, wells, rules=rules, executor=executor)
                _write_whole(frame, file)
            flags.append(frame[["field_id", *FLAGS]])
            bar.advance(len(wells))
    return pd.concat(flags, ignore_index=True)


def _is_needed(rules: QualityConfig) -> bool:
    limits = (rules.min_relative_contrast, rules.max_saturated_fraction, rules.max_focus_deviation)
    return any(limit is not None for limit in limits)


def _measure_plate(
    store: ScreenStore, wells: pd.DataFrame, *, rules: QualityConfig, executor: Executor
) -> pd.DataFrame:
    measures = list(_measures(store, wells, rules=rules, executor=executor))
    contrast_NC = np.stack([measure.contrast for measure in measures])
    saturated_NC = np.stack([measure.saturated_fraction for measure in measures])
    focus_NC = np.stack([measure.focus for measure in measures])
    flags = flag_plate(contrast_NC, saturated_NC, focus_NC=focus_NC, rules=rules)
    frame = wells[["field_id", *FIELD_KEY]].reset_index(drop=True)
    columns: dict[str, np.ndarray] = {}
    for number, channel in enumerate(store.channels):
        columns[f"contrast_{channel}"] = contrast_NC[:, number]
        columns[f"saturated_fraction_{channel}"] = saturated_NC[:, number]
        columns[f"focus_{channel}"] = focus_NC[:, number]
    return frame.assign(
        **columns,
        focus_loss=flags.focus_loss,
        is_empty=flags.is_empty,
        is_saturated=flags.is_saturated,
        is_out_of_focus=flags.is_out_of_focus,
    )


def _measures(
    store: ScreenStore, wells: pd.DataFrame, *, rules: QualityConfig, executor: Executor
) -> Iterator[FieldMeasures]:
    places = zip(wells["plate_index"].tolist(), wells["field_index"].tolist(), strict=True)
    measure = functools.partial(_measure, store, saturation_level=rules.saturation_level)
    return in_order(measure, places, executor=executor, window=16)


def _measure(store: ScreenStore, place: tuple[int, int], *, saturation_level: float) -> FieldMeasures:
    return measure_field(store.read(*place), saturation_level=saturation_level)


def _write_whole(frame: pd.DataFrame, file: Path) -> None:
    with written_whole(file) as temporary:
        frame.to_parquet(temporary, index=False)
