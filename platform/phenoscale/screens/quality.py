"""Quality of fields from their pixels, in one pass: background, contrast, saturation and fine detail.

Per channel of a field:
- background = median, in gray levels;
- contrast = 99.9th percentile minus median, in gray levels;
- saturated fraction = share of pixels at or above the saturation level;
- focus = log2 of fine detail over coarse structure. Averaging 2 x 2 pixels again and again splits the
  variance of an image exactly into octaves: b_k = var(x_k) - var(x_k+1), where x_0 is the image (a Haar
  pyramid, after Mallat 1989, doi:10.1109/34.192463). Fine detail is b_1 (2 to 4 pixels) without the white
  noise that b_0 (1 to 2 pixels) would explain, b_1 - b_0 / 4; coarse structure is var(x_2). The ratio does
  not depend on stain gain or background, and blur lowers it.
The measures are a table beside the plate; `curate` judges them. Shapes: C channels, H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import pandas as pd

from phenoscale.schema.keys import FIELD_KEY

SATURATION_LEVEL: Final = 0.999
_SMALLEST_SHARE: Final = 2.0**-20


@dataclass(frozen=True)
class FieldMeasures:
    """The measures of one field, [C] each."""

    background: np.ndarray
    contrast: np.ndarray
    saturated_fraction: np.ndarray
    focus: np.ndarray


def measure_field(pixels_CHW: np.ndarray, *, saturation_level: float = SATURATION_LEVEL) -> FieldMeasures:
    """Measure one field of unsigned integers; `saturation_level` is a share of the type's largest value."""
    saturated_from = saturation_level * np.iinfo(pixels_CHW.dtype).max
    backgrounds, contrasts, saturated, focus = [], [], [], []
    for pixels_HW in pixels_CHW:
        counts = np.bincount(pixels_HW.ravel())
        backgrounds.append(_percentile(counts, 0.5))
        contrasts.append(_percentile(counts, 0.999) - backgrounds[-1])
        saturated.append(counts[int(np.ceil(saturated_from)) :].sum() / pixels_HW.size)
        focus.append(focus_score(pixels_HW))
    return FieldMeasures(
        np.array(backgrounds, dtype=float),
        np.array(contrasts, dtype=float),
        np.array(saturated),
        np.array(focus),
    )


def quality_table(
    wells: pd.DataFrame, measures: Sequence[FieldMeasures], *, channels: Sequence[str]
) -> pd.DataFrame:
    """Return the key of every field with its measures, a column for each and each channel."""
    columns = {
        f"{measure.name}_{channel}": [float(getattr(field, measure.name)[number]) for field in measures]
        for number, channel in enumerate(channels)
        for measure in fields(FieldMeasures)
    }
    return wells[["field_id", *FIELD_KEY]].assign(**columns)


def focus_score(pixels_HW: np.ndarray) -> float:
    """Return log2 of fine detail over coarse structure; NaN where the image has no structure."""
    height, width = (length // 4 * 4 for length in pixels_HW.shape)
    x_0 = pixels_HW[:height, :width].astype(np.float32)
    x_1 = _halved(x_0)
    x_2 = _halved(x_1)
    variances = [float(np.var(x, dtype=np.float64)) for x in (x_0, x_1, x_2)]
    finest, fine, structure = variances[0] - variances[1], variances[1] - variances[2], variances[2]
    if not structure > 0:
        return float("nan")
    return float(np.log2(max((fine - finest / 4) / structure, _SMALLEST_SHARE)))


def _percentile(counts: np.ndarray, share: float) -> int:
    """Return the smallest gray level that at least this share of the pixels does not exceed."""
    below = np.cumsum(counts)
    return int(np.searchsorted(below, share * below[-1]))


def _halved(x_HW: np.ndarray) -> np.ndarray:
    quarter: np.ndarray = x_HW[::2, ::2] + x_HW[1::2, ::2] + x_HW[::2, 1::2] + x_HW[1::2, 1::2]
    return quarter / 4
