"""Flag the fields of a plate that are empty, saturated or out of focus, from the measures beside the plate.

A field is judged against its plate. Shapes: N fields, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from phenoscale.curation.config import QualityConfig
from phenoscale.schema.keys import FIELD_KEY
from phenoscale.screens.store import ScreenStore

FLAGS: Final = ("is_empty", "is_saturated", "is_out_of_focus")
_MAD_TO_SD: Final = 1.4826


@dataclass(frozen=True)
class PlateFlags:
    """The flags of a plate's fields, [N] each; `focus_loss` is in octaves below the plate's median."""

    is_empty: np.ndarray
    is_saturated: np.ndarray
    is_out_of_focus: np.ndarray
    focus_loss: np.ndarray


def flag_stores(stores: Sequence[ScreenStore], *, rules: QualityConfig) -> pd.DataFrame:
    """Return the key of every field of the stores with its flags and its loss of focus; no pixel is read."""
    tables = [
        _flag_table(store.quality(number), channels=store.channels, rules=rules)
        for store in stores
        for number in range(len(store.header.plates))
    ]
    return pd.concat(tables, ignore_index=True)


def flag_plate(
    contrast_NC: np.ndarray, saturated_NC: np.ndarray, *, focus_NC: np.ndarray, rules: QualityConfig
) -> PlateFlags:
    """Judge the fields of one plate.

    Empty: in every channel the contrast is zero, or below `min_relative_contrast` of the plate's upper
    quartile. Saturated: in some channel more than `max_saturated_fraction`. Out of focus (fields that are
    neither): the median over channels of the focus, relative to the plate's median of that channel, lies more
    than `max_focus_deviation` robust standard deviations and more than `min_focus_loss` octaves below.
    """
    num_fields = len(contrast_NC)
    reference_C = np.quantile(contrast_NC, 0.75, axis=0)
    is_low_NC = (contrast_NC == 0) | (contrast_NC < (rules.min_relative_contrast or 0.0) * reference_C)
    is_empty = is_low_NC.all(axis=1) & (rules.min_relative_contrast is not None)
    limit = rules.max_saturated_fraction
    is_saturated = np.any(saturated_NC > (1.0 if limit is None else limit), axis=1)
    focus_loss = _focus_loss(focus_NC, judged=~(is_low_NC.all(axis=1) | is_saturated))
    is_blurred = np.zeros(num_fields, bool)
    num_judged = int(np.isfinite(focus_loss).sum())
    if rules.max_focus_deviation is not None and num_judged >= rules.min_fields_per_plate:
        center = np.nanmedian(focus_loss)
        deviation = _MAD_TO_SD * float(np.nanmedian(np.abs(focus_loss - center)))
        least_loss = max(rules.max_focus_deviation * deviation, rules.min_focus_loss)
        is_blurred = np.nan_to_num(focus_loss - center, nan=0.0) > least_loss
    return PlateFlags(is_empty, is_saturated, is_out_of_focus=is_blurred, focus_loss=focus_loss)


def _flag_table(quality: pd.DataFrame, *, channels: Sequence[str], rules: QualityConfig) -> pd.DataFrame:
    contrast_NC, saturated_NC, focus_NC = (
        quality[[f"{measure}_{channel}" for channel in channels]].to_numpy()
        for measure in ("contrast", "saturated_fraction", "focus")
    )
    flags = flag_plate(contrast_NC, saturated_NC, focus_NC=focus_NC, rules=rules)
    columns = {name: getattr(flags, name) for name in (*FLAGS, "focus_loss")}
    return quality[["field_id", *FIELD_KEY]].assign(**columns)


def _focus_loss(focus_NC: np.ndarray, *, judged: np.ndarray) -> np.ndarray:
    """Return how many octaves each judged field lies below its plate; NaN for the others."""
    loss = np.full(len(focus_NC), np.nan)
    usable_C = np.isfinite(focus_NC[judged]).any(axis=0)
    if judged.any() and usable_C.any():
        kept_NC = focus_NC[judged][:, usable_C]
        relative_NC = np.nanmedian(kept_NC, axis=0) - kept_NC
        # a field that has structure in no usable channel is not judged
        has_any = np.isfinite(relative_NC).any(axis=1)
        loss[np.flatnonzero(judged)[has_any]] = np.nanmedian(relative_NC[has_any], axis=1)
    return loss
