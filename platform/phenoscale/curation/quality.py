"""Quality of fields from their pixels, in one pass: contrast, saturation and fine detail of every channel.

Per channel of a field:
- contrast = 99.9th percentile minus median, in gray levels;
- saturated fraction = share of pixels at or above the saturation level;
- focus = log2 of fine detail over coarse structure. Averaging 2 x 2 pixels again and again splits the
  variance of an image exactly into octaves: b_k = var(x_k) - var(x_k+1), where x_0 is the image (a Haar
  pyramid, after Mallat 1989, doi:10.1109/34.192463). Fine detail is b_1 (2 to 4 pixels) without the white
  noise that b_0 (1 to 2 pixels) would explain, b_1 - b_0 / 4; coarse structure is var(x_2). The ratio does
  not depend on stain gain or background, and blur lowers it.
A field is judged against its plate (`flag_plate`). Shapes: N fields, C channels, H W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from phenoscale.curation.config import QualityConfig

_MAD_TO_SD: Final = 1.4826
_SMALLEST_SHARE: Final = 2.0**-20


@dataclass(frozen=True)
class FieldMeasures:
    """The measures of one field, [C] each."""

    contrast: np.ndarray
    saturated_fraction: np.ndarray
    focus: np.ndarray


@dataclass(frozen=True)
class PlateFlags:
    """The flags of a plate's fields, [N] each; `focus_loss` is in octaves below the plate's median."""

    is_empty: np.ndarray
    is_saturated: np.ndarray
    is_out_of_focus: np.ndarray
    focus_loss: np.ndarray


def measure_field(pixels_CHW: np.ndarray, *, saturation_level: float) -> FieldMeasures:
    """Measure one field of unsigned integers; `saturation_level` is a share of the type's largest value."""
    saturated_from = saturation_level * np.iinfo(pixels_CHW.dtype).max
    contrasts, saturated, focus = [], [], []
    for pixels_HW in pixels_CHW:
        counts = np.bincount(pixels_HW.ravel())
        contrasts.append(_percentile(counts, 0.999) - _percentile(counts, 0.5))
        saturated.append(counts[int(np.ceil(saturated_from)) :].sum() / pixels_HW.size)
        focus.append(focus_score(pixels_HW))
    return FieldMeasures(np.array(contrasts, dtype=float), np.array(saturated), np.array(focus))


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


def _percentile(counts: np.ndarray, share: float) -> int:
    """Return the smallest gray level that at least this share of the pixels does not exceed."""
    below = np.cumsum(counts)
    return int(np.searchsorted(below, share * below[-1]))


def _halved(x_HW: np.ndarray) -> np.ndarray:
    quarter: np.ndarray = x_HW[::2, ::2] + x_HW[1::2, ::2] + x_HW[::2, 1::2] + x_HW[1::2, 1::2]
    return quarter / 4
