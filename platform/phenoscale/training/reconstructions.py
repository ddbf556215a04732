"""What the model restores: some validation crops with fixed masks, as arrays for the report and as a picture.

Shapes: N crops, C channels, H W pixels, L patches.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image

from phenoscale.loading.fields import ManifestFields
from phenoscale.models.objectives import TrainingModel
from phenoscale.models.preprocess import standardize
from phenoscale.models.vit import unpatchify
from phenoscale.training.labels import NEGATIVE_CONTROL, is_negative_control
from phenoscale.training.precision import autocast
from phenoscale.training.settings import TrainingSettings
from phenoscale.training.validation import read_fixed_crops

MIN_PICTURE_PX = 128
GAP_PX = 4
# One color a channel, as microscopists draw them: DNA blue, then green, red, yellow, magenta, cyan.
COLORS = np.array(
    [
        [0.25, 0.35, 1.0],
        [0.1, 1.0, 0.3],
        [1.0, 0.25, 0.2],
        [1.0, 0.85, 0.2],
        [1.0, 0.3, 0.9],
        [0.2, 0.95, 1.0],
    ]
)

Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class Reconstructions:
    """Crops in standardized units: mean 0 and variance 1 per crop and channel.

    Attributes:
        original_NCHW: what the model should restore.
        masked_NCHW: what it saw: the removed patches are 0, the mean.
        reconstruction_NCHW: what it saw, with the removed patches as it restored them.
        labels: the perturbation of each crop, or "negative control".
        field_ids: the field of each crop.
        channels: stains of the crops.
    """

    original_NCHW: Pixels
    masked_NCHW: Pixels
    reconstruction_NCHW: Pixels
    labels: tuple[str, ...]
    field_ids: tuple[str, ...]
    channels: tuple[str, ...]


def choose_rows_to_show(fields: ManifestFields, *, num_crops: int) -> NDArray[np.int64]:
    """Rows of validation fields (training fields if there are none): half negative controls, half others.

    Others are of as many perturbations as possible; all have the channels that most have. The choice
    depends on the manifest only.
    """
    split = fields.frame["split"]
    wanted = "validation" if (split == "validation").any() else "train"
    _, rows = max(fields.by_channels(np.flatnonzero((split == wanted).to_numpy())), key=_num_rows)
    is_control = is_negative_control(fields.frame)[rows]
    controls, others = rows[is_control], _one_of_each(fields.frame, rows[~is_control])
    num_controls = min(len(controls), max(num_crops // 2, num_crops - len(others)))
    chosen = [*_spread(controls, num_controls), *_spread(others, num_crops - num_controls)]
    return fields.in_store_order(np.array(sorted(chosen), dtype=np.int64)) if chosen else rows[:0]


@torch.no_grad()
def reconstruct(
    model: TrainingModel, *, fields: ManifestFields, rows: NDArray[np.int64], settings: TrainingSettings
) -> Reconstructions:
    """Mask and restore the center crops of some fields, all of which have the same channels."""
    device = next(model.parameters()).device
    crops = read_fixed_crops(fields, rows=rows, settings=settings)
    is_shown, arguments = np.ones(len(fields.channels), dtype=bool), [crops.noise_or_labels.to(device)]
    if crops.present_NC is not None:
        assert bool((crops.present_NC == crops.present_NC[0]).all()), "crops shown have the same channels"
        is_shown = crops.present_NC[0].numpy()
        arguments.append(crops.present_NC)
    model.eval()
    original = standardize(crops.crops_NCHW.to(device), intensity_scale=settings.intensity_scale)
    with autocast(settings.precision, device=device):
        prediction = model(original, *arguments)
    tokens = (len(rows), -1, prediction.target_BLP.shape[2])
    hidden_NL1 = (prediction.mask_BL > 0).float().reshape(len(rows), -1, 1)
    target_NLP = prediction.target_BLP.reshape(tokens)
    seen_NLP = target_NLP * (1 - hidden_NL1)
    restored_NLP = seen_NLP + prediction.prediction_BLP.float().reshape(tokens) * hidden_NL1
    original_NCHW, masked_NCHW, reconstruction_NCHW = (
        unpatchify(patches, num_channels=int(is_shown.sum()), patch_size=prediction.patch_size).cpu().numpy()
        for patches in (target_NLP, seen_NLP, restored_NLP)
    )
    shown = fields.frame.iloc[rows]
    return Reconstructions(
        original_NCHW=original_NCHW,
        masked_NCHW=masked_NCHW,
        reconstruction_NCHW=reconstruction_NCHW,
        labels=_labels(shown),
        field_ids=tuple(shown["field_id"].astype(str)),
        channels=tuple(np.array(fields.channels, dtype=object)[is_shown].tolist()),
    )


def write_reconstructions(file: Path, shown: Reconstructions) -> None:
    """Write the arrays `original`, `masked`, `reconstruction`, `labels`, `field_ids` and `channels`."""
    arrays: dict[str, NDArray[Any]] = {
        "original": shown.original_NCHW.astype(np.float16),
        "masked": shown.masked_NCHW.astype(np.float16),
        "reconstruction": shown.reconstruction_NCHW.astype(np.float16),
        "labels": np.array(shown.labels, dtype=np.str_),
        "field_ids": np.array(shown.field_ids, dtype=np.str_),
        "channels": np.array(shown.channels, dtype=np.str_),
    }
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def draw_reconstructions(file: Path, shown: Reconstructions) -> None:
    """Draw one row per crop: masked, reconstruction, original, in false color."""
    rows = []
    for original, masked, restored in zip(
        shown.original_NCHW, shown.masked_NCHW, shown.reconstruction_NCHW, strict=True
    ):
        low, high = np.percentile(original, [1, 99.5], axis=(1, 2))[:, :, None, None]
        triptych = [
            _false_color((image - low) / np.maximum(high - low, 1e-6))
            for image in (masked, restored, original)
        ]
        rows.append(_join(triptych, axis=1))
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((_join(rows, axis=0) * 255).round().astype(np.uint8)).save(file)


def _false_color(image_CHW: Pixels) -> NDArray[np.float64]:
    colors = COLORS[np.arange(len(image_CHW)) % len(COLORS)]
    image = np.einsum("chw,cr->hwr", np.clip(image_CHW, 0, 1), colors)
    enlargement = max(1, -(-MIN_PICTURE_PX // image.shape[0]))
    large: NDArray[np.float64] = np.clip(image, 0, 1).repeat(enlargement, axis=0).repeat(enlargement, axis=1)
    return large


def _join(images: list[NDArray[np.float64]], *, axis: int) -> NDArray[np.float64]:
    gap_shape = list(images[0].shape)
    gap_shape[axis] = GAP_PX
    parts = [part for image in images for part in (np.ones(gap_shape), image)]
    return np.concatenate(parts[1:], axis=axis)


def _num_rows(part: tuple[ManifestFields, NDArray[np.int64]]) -> int:
    return len(part[1])


def _one_of_each(frame: pd.DataFrame, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """One row per perturbation."""
    _, first = np.unique(frame["perturbation"].iloc[rows].fillna("").to_numpy(str), return_index=True)
    return rows[np.sort(first)]


def _spread(rows: NDArray[np.int64], num: int) -> list[int]:
    """Up to `num` rows, evenly spaced."""
    if num <= 0 or len(rows) == 0:
        return []
    places = np.linspace(0, len(rows) - 1, min(num, len(rows))).astype(int)
    return [int(row) for row in rows[np.unique(places)]]


def _labels(frame: pd.DataFrame) -> tuple[str, ...]:
    pairs = zip(frame["perturbation"].fillna(""), is_negative_control(frame), strict=True)
    return tuple(NEGATIVE_CONTROL if is_control else str(name) for name, is_control in pairs)
