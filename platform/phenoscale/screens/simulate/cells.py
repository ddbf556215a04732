"""Draw cells: nucleus, cytoplasm, texture and one structure per stain, then the optics of the microscope.

Shapes: N cells, W window pixels, C channels, H height and width of the field. Intensities are shares of the
full scale. All cells of a field are drawn at once on windows of equal size and then added to the field.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from phenoscale.screens.simulate.phenotypes import PAINTED_CHANNELS, cell_properties

Image = npt.NDArray[np.float32]
_HALF_WINDOW_PX = 36
_FULL_SCALE = 65535.0
# Mean brightness of a healthy cell in each stain, as a share of the full scale.
_BRIGHTNESS = {"DNA": 0.22, "ER": 0.15, "RNA": 0.14, "AGP": 0.15, "Mito": 0.15}


@dataclass(frozen=True)
class Optics:
    """What the microscope does to one field.

    Attributes:
        gains: factor on each channel's signal, in the order of `channels`.
        focus_px: standard deviation of the blur in pixels.
        illumination: fall-off of the light across the field, as a share, and its direction in radians.
        direction: direction of the fall-off in radians.
        background: background of every channel, as a share of the full scale.
        photons: photons at full scale.
        read_noise: camera noise, as a share of the full scale.
    """

    gains: tuple[float, ...]
    focus_px: float
    illumination: float
    direction: float
    background: float
    photons: float
    read_noise: float


@dataclass(frozen=True)
class _Cells:
    """What the painters need of the cells.

    Attributes:
        properties: visible properties, each of shape [N, 1, 1].
        x_NWW: pixels along the cell's long axis from its center; y_NWW across it.
        cell_radius_NWW: distance from the center relative to the cell's outline.
        cell_NWW: soft mask of the cell; nucleus_NWW of its nucleus.
    """

    properties: dict[str, Image]
    x_NWW: Image
    y_NWW: Image
    cell_radius_NWW: Image
    cell_NWW: Image
    nucleus_NWW: Image


def draw_field(
    latents_NP: npt.NDArray[np.float64],
    *,
    channels: tuple[str, ...],
    size_px: int,
    optics: Optics,
    generator: np.random.Generator,
) -> npt.NDArray[np.uint16]:
    """Draw one field of view, [C, H, H] 16-bit intensities, with one cell for each row of latents."""
    field_CHH = np.zeros((len(channels), size_px, size_px), np.float32)
    if len(latents_NP):
        windows_CNWW = _draw_cells(latents_NP, channels=channels, generator=generator)
        field_CHH = _assemble(windows_CNWW, size_px=size_px, generator=generator)
    return _image(field_CHH, optics=optics, generator=generator)


def _assemble(windows_CNWW: Image, *, size_px: int, generator: np.random.Generator) -> Image:
    """Add the cells to the field at random places; a cell may reach over the edge."""
    half = _HALF_WINDOW_PX
    num_channels, num_cells, width, _ = windows_CNWW.shape
    canvas = np.zeros((num_channels, size_px + width, size_px + width), np.float32)
    for cell, (top, left) in enumerate(_places(num_cells, size_px=size_px, generator=generator)):
        canvas[:, top : top + width, left : left + width] += windows_CNWW[:, cell]
    return canvas[:, half : half + size_px, half : half + size_px]


def _places(num_cells: int, *, size_px: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Centers of the cells, spread by best-of-five candidates: far from what lies there already."""
    candidates = generator.uniform(0, size_px, (num_cells, 5, 2))
    places = np.empty((num_cells, 2))
    for cell in range(num_cells):
        gaps = np.abs(candidates[cell][:, None, :] - places[None, :cell, :])
        nearest = np.hypot(gaps[..., 0], gaps[..., 1]).min(axis=1) if cell else np.zeros(5)
        places[cell] = candidates[cell][int(np.argmax(nearest))]
    return places.astype(np.int64)


def _draw_cells(
    latents_NP: npt.NDArray[np.float64], *, channels: tuple[str, ...], generator: np.random.Generator
) -> Image:
    """Every stain of every cell on its own window, [C, N, W, W]."""
    properties = {name: values[:, None, None] for name, values in cell_properties(latents_NP).items()}
    cells = _place_windows(properties, generator)
    painters = dict(zip(PAINTED_CHANNELS, (_dna, _er, _rna, _agp, _mito), strict=True))
    # Every stain is painted, asked for or not: the stains share one random stream.
    painted = [
        painters[name](cells, generator) * (properties[f"intensity_{name}"] * _BRIGHTNESS[name])
        for name in PAINTED_CHANNELS
    ]
    return np.stack([painted[PAINTED_CHANNELS.index(name)] for name in channels]).astype(np.float32)


def _place_windows(properties: dict[str, Image], generator: np.random.Generator) -> _Cells:
    num_cells = len(properties["cell_radius_px"])
    axis = np.arange(-_HALF_WINDOW_PX, _HALF_WINDOW_PX + 1, dtype=np.float32)
    y, x = axis[None, :, None], axis[None, None, :]
    angle, phase, turn = generator.uniform(0, 2 * np.pi, (3, num_cells, 1, 1)).astype(np.float32)
    lobes = generator.integers(3, 6, (num_cells, 1, 1)).astype(np.float32)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    outline = properties["cell_radius_px"] * (
        1 + properties["cell_lobes"] * np.cos(lobes * np.arctan2(across, along) + phase)
    )
    stretch = np.sqrt(properties["cell_elongation"])
    cell_radius = np.hypot(along / stretch, across * stretch) / outline
    tilt_along, tilt_across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    stretch = np.sqrt(properties["nucleus_elongation"])
    nucleus_radius = np.hypot(tilt_along / stretch, tilt_across * stretch) / properties["nucleus_radius_px"]
    cell, nucleus = _inside(cell_radius, 8.0), _inside(nucleus_radius, 6.0)
    return _Cells(properties, along, across, cell_radius, cell, nucleus)


def _inside(radius: Image, sharpness: float) -> Image:
    """1 inside the unit radius, 0 outside, with a soft edge."""
    return np.asarray(0.5 * (1 - np.tanh(sharpness * 0.5 * (radius - 1))), np.float32)


def _texture(cells: _Cells, name: str, *, generator: np.random.Generator) -> Image:
    """Isotropic random texture of unit variance: four plane waves of one wavelength, random directions."""
    num_cells = len(cells.x_NWW)
    direction, phase = generator.uniform(0, 2 * np.pi, (2, 4, num_cells, 1, 1)).astype(np.float32)
    number = 2 * np.pi / cells.properties[name]
    waves = [
        np.cos(number * (cells.x_NWW * np.cos(direction[k]) + cells.y_NWW * np.sin(direction[k])) + phase[k])
        for k in range(4)
    ]
    return np.asarray(sum(waves) / np.float32(np.sqrt(2)), np.float32)


def _spot(cells: _Cells, center: tuple[Image, Image], *, radius_px: Image) -> Image:
    return np.asarray(
        np.exp(-((cells.x_NWW - center[0]) ** 2 + (cells.y_NWW - center[1]) ** 2) / (2 * radius_px**2)),
        np.float32,
    )


def _around(distance: Image, generator: np.random.Generator) -> tuple[Image, Image]:
    """A random point for each cell at the given distance from the cell's center."""
    angle = generator.uniform(0, 2 * np.pi, distance.shape).astype(np.float32)
    x: Image = distance * np.cos(angle)
    y: Image = distance * np.sin(angle)
    return x, y


def _dna(cells: _Cells, generator: np.random.Generator) -> Image:
    texture = _texture(cells, "chromatin_wavelength_px", generator=generator)
    painted: Image = cells.nucleus_NWW * np.maximum(1 + cells.properties["chromatin_contrast"] * texture, 0)
    return painted


def _er(cells: _Cells, generator: np.random.Generator) -> Image:
    texture = _texture(cells, "er_wavelength_px", generator=generator)
    fade = np.exp(-cells.cell_radius_NWW / cells.properties["er_decay"])
    painted: Image = (
        2.2 * cells.cell_NWW * fade * (1 - 0.7 * cells.nucleus_NWW) * np.maximum(1 + 0.35 * texture, 0)
    )
    return painted


def _rna(cells: _Cells, generator: np.random.Generator) -> Image:
    spots = np.zeros_like(cells.cell_NWW)
    for _ in range(3):
        share = generator.uniform(0.15, 0.65, cells.properties["nucleus_radius_px"].shape).astype(np.float32)
        center = _around(share * cells.properties["nucleus_radius_px"], generator)
        spots = spots + _spot(cells, center, radius_px=cells.properties["nucleolus_radius_px"])
    cytoplasm = 0.8 * cells.cell_NWW * (1 - 0.4 * cells.nucleus_NWW)
    painted: Image = cytoplasm + cells.properties["nucleolus_brightness"] * spots * cells.nucleus_NWW
    return painted


def _agp(cells: _Cells, generator: np.random.Generator) -> Image:
    phase = generator.uniform(0, 2 * np.pi, cells.properties["actin_fibers"].shape).astype(np.float32)
    stripes = 0.5 + 0.5 * np.cos(2 * np.pi * cells.y_NWW / cells.properties["actin_wavelength_px"] + phase)
    membrane = np.exp(-(((cells.cell_radius_NWW - 0.92) / 0.11) ** 2))
    distance = cells.properties["nucleus_radius_px"] + cells.properties["golgi_radius_px"]
    golgi = _spot(cells, _around(distance, generator), radius_px=cells.properties["golgi_radius_px"])
    fibers = cells.cell_NWW * (0.25 + 2.0 * cells.properties["actin_fibers"] * stripes**2)
    painted: Image = 0.9 * membrane + fibers + 1.3 * golgi * cells.cell_NWW
    return painted


def _mito(cells: _Cells, generator: np.random.Generator) -> Image:
    texture = _texture(cells, "mito_wavelength_px", generator=generator)
    ring = np.exp(-(((cells.cell_radius_NWW - cells.properties["mito_radius"]) / 0.28) ** 2))
    painted: Image = (
        cells.cell_NWW * (1 - 0.85 * cells.nucleus_NWW) * (0.15 + 2.4 * ring / (1 + np.exp(-3 * texture)))
    )
    return painted


def _image(signal_CHH: Image, *, optics: Optics, generator: np.random.Generator) -> npt.NDArray[np.uint16]:
    """Blur, illumination, stain gain, background, shot and camera noise, 16-bit digits."""
    size = signal_CHH.shape[-1]
    blurred = gaussian_filter(signal_CHH, sigma=(0, optics.focus_px, optics.focus_px), truncate=3.0)
    axis = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    slope = axis[:, None] * np.sin(optics.direction) + axis[None, :] * np.cos(optics.direction)
    light = (1 + optics.illumination * slope).astype(np.float32)
    gains = np.asarray(optics.gains, np.float32)[:, None, None]
    light_CHH = blurred * gains * light + np.float32(optics.background)
    noise_CHH = generator.standard_normal(light_CHH.shape, dtype=np.float32)
    deviation = np.sqrt(light_CHH / np.float32(optics.photons) + np.float32(optics.read_noise) ** 2)
    digits = np.rint((light_CHH + noise_CHH * deviation) * np.float32(_FULL_SCALE))
    image: npt.NDArray[np.uint16] = np.clip(digits, 0, _FULL_SCALE).astype(np.uint16)
    return image
