"""The latent phenotype space of simulated cells: which latent dimension changes which visible property.

A latent value of 0 is the healthy cell; a property is `base * exp(scale * latent)`, so one latent unit is the
same relative change for every property. The first dimensions are shape and texture, the last are intensities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PAINTED_CHANNELS = ("DNA", "ER", "RNA", "AGP", "Mito")


@dataclass(frozen=True)
class Property:
    """A visible property of a cell: its value in a healthy cell and its log change per latent unit."""

    name: str
    base: float
    scale: float


SHAPE_AND_TEXTURE = (
    Property("nucleus_radius_px", 8.5, 0.12),
    Property("nucleus_elongation", 1.25, 0.14),
    Property("cell_radius_px", 19.0, 0.12),
    Property("cell_elongation", 1.25, 0.16),
    Property("cell_lobes", 0.12, 0.45),
    Property("chromatin_wavelength_px", 6.0, 0.25),
    Property("chromatin_contrast", 0.28, 0.45),
    Property("er_decay", 0.75, 0.30),
    Property("er_wavelength_px", 7.5, 0.25),
    Property("nucleolus_radius_px", 2.0, 0.22),
    Property("nucleolus_brightness", 1.6, 0.35),
    Property("golgi_radius_px", 3.2, 0.28),
    Property("actin_fibers", 0.35, 0.5),
    Property("actin_wavelength_px", 6.5, 0.25),
    Property("mito_wavelength_px", 6.5, 0.28),
    Property("mito_radius", 0.62, 0.18),
)
INTENSITIES = tuple(Property(f"intensity_{name}", 1.0, 0.25) for name in PAINTED_CHANNELS)
PROPERTIES = SHAPE_AND_TEXTURE + INTENSITIES
NUM_LATENTS = len(PROPERTIES)

Array = npt.NDArray[np.float64]


def latent_weights(intensity_share: float) -> Array:
    """Weight of each dimension in a random phenotype: 1 for shape and texture, else `intensity_share`."""
    return np.array([1.0] * len(SHAPE_AND_TEXTURE) + [intensity_share] * len(INTENSITIES))


def cell_properties(latents_NP: Array) -> dict[str, npt.NDArray[np.float32]]:
    """Visible properties of N cells, each an array of N values; latents are kept within three units."""
    bounded_NP = 3.0 * np.tanh(latents_NP / 3.0)
    return {
        item.name: (item.base * np.exp(item.scale * bounded_NP[:, column])).astype(np.float32)
        for column, item in enumerate(PROPERTIES)
    }
