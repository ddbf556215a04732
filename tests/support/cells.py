"""Drawn cells, sharp or blurred, for what judges the quality of a field."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter


def draw_cells(seed, *, size=96, sigma=0.0, gain=8000.0, background=500.0, noise=20.0):
    """Draw spots of several widths on a flat ground, blurred by `sigma` pixels; the camera adds noise."""
    rng = np.random.default_rng(seed)
    image = np.zeros((size, size))
    for width, number in ((1.0, 60), (2.5, 25), (6.0, 8)):
        spots = np.zeros((size, size))
        spots[rng.integers(0, size, number), rng.integers(0, size, number)] = 1.0
        spots = gaussian_filter(spots, width)
        image += spots / spots.max()
    image = gaussian_filter(image, sigma) if sigma else image
    pixels = background + gain * image + noise * rng.standard_normal((size, size))
    return np.clip(pixels, 0, 65535).astype(np.uint16)
