"""Reconstruction triptychs as small pictures: each stain in its color, contrast taken from the original.

Shapes: N crops, C channels, H W pixels.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from phenoscale.reports.figures.palette import stain_color
from phenoscale.reports.markup import Markup, join, tag

SHOWN_PX: Final = 192
_GAMMA: Final = 1.15
_JPEG_QUALITY: Final = 88
_HIDDEN: Final = (0.10, 0.115, 0.14)

Pixels = npt.NDArray[np.float32]


def reconstruction_gallery(file: Path, *, num_shown: int) -> tuple[Markup, tuple[str, ...]]:
    """The triptychs of a reconstruction file as HTML, and the stains that they show."""
    with np.load(file, allow_pickle=False) as arrays:
        original = arrays["original"].astype(np.float32)
        masked = arrays["masked"].astype(np.float32)
        reconstruction = arrays["reconstruction"].astype(np.float32)
        labels = [str(label) for label in arrays["labels"]]
        channels = tuple(str(name) for name in arrays["channels"])
    chosen = np.unique(np.linspace(0, len(original) - 1, min(num_shown, len(original))).astype(int))
    items = [
        _triptych(
            [masked[index], reconstruction[index], original[index]], label=labels[index], channels=channels
        )
        for index in chosen
    ]
    return tag("div", *items, class_="gallery"), channels


def _triptych(images: list[Pixels], *, label: str, channels: tuple[str, ...]) -> Markup:
    masked, reconstruction, original = images
    low, high = contrast(original)
    names = ("what the model sees", "restored", "original")
    pictures = [false_color(image, low=low, high=high, channels=channels) for image in images]
    # Patches that are zero in every channel were hidden: zero is the mean, and would look like gray cells.
    pictures[0][np.all(masked == 0, axis=0)] = _HIDDEN
    shown = [
        tag("img", src=picture_uri(picture), alt=f"{name}: {label}", loading="eager")
        for picture, name in zip(pictures, names, strict=True)
    ]
    error = float(np.mean((reconstruction - original)[:, np.all(masked == 0, axis=0)] ** 2))
    note = f"error on hidden patches {error:.2f}" if np.isfinite(error) else ""
    return tag(
        "div",
        tag("div", *(tag("span", name) for name in names), class_="heads"),
        tag("div", *shown, class_="images"),
        tag("div", join([tag("b", label or "unlabelled"), f"  {note}"]), class_="name"),
        class_="triptych",
    )


def contrast(original_CHW: Pixels) -> tuple[Pixels, Pixels]:
    """Darkest and brightest shown value of each channel: the 5th and 99.7th percentile."""
    low, high = np.percentile(original_CHW, [5.0, 99.7], axis=(1, 2))
    return low[:, None, None].astype(np.float32), np.maximum(high, low + 1e-6)[:, None, None].astype(
        np.float32
    )


def false_color(
    image_CHW: Pixels, *, low: Pixels, high: Pixels, channels: tuple[str, ...]
) -> npt.NDArray[np.float64]:
    """Mix the stains' colors, [H, W, 3] between 0 and 1.

    Colors that are added up burn out to white where stains overlap. So the hue is the mean of the colors, the
    stronger stain counting more, and the brightness is that of the strongest stain.
    """
    scaled = np.clip((image_CHW - low) / (high - low), 0, 1).astype(np.float64)
    colors = np.array([stain_color(name, position=i) for i, name in enumerate(channels)]) / 255.0
    hue = np.einsum("chw,cr->hwr", scaled**2, colors)
    hue /= np.maximum(hue.max(axis=2, keepdims=True), 1e-12)
    shown: npt.NDArray[np.float64] = hue * (scaled.max(axis=0) ** _GAMMA)[:, :, None]
    return shown


def picture_uri(picture_HWR: npt.NDArray[np.float64]) -> str:
    """A picture as a data URI, enlarged to a size at which pixels stay visible and the file small."""
    eight_bit = (np.clip(picture_HWR, 0, 1) * 255).round().astype(np.uint8)
    image = Image.fromarray(eight_bit)
    factor = max(1, round(SHOWN_PX / image.height))
    image = image.resize((image.width * factor, image.height * factor), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
