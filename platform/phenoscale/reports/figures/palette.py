"""The report's colors: safe for color-blind readers, the same thing in the same color everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from phenoscale.schema.rows import ORACLE

INK: Final = "#1b2733"
MUTED: Final = "#64748b"
LINE: Final = "#dfe5ec"
PAPER: Final = "#ffffff"
ACCENT: Final = "#0f6ab4"
GOOD: Final = "#0b7a5c"
BAD: Final = "#b4471f"

ENCODERS: Final = {
    "trained": "#0f6ab4",
    "mae": "#0f6ab4",
    "mae_fourier": "#56a5d8",
    "ca_mae": "#5b5ea6",
    "mu_net": "#c0392b",
    "wsl": "#7f8c2d",
    "untrained": "#e08e0b",
    "pixel_statistics": "#a05195",
    ORACLE: "#0b7a5c",
    "champion": "#3d4f63",
}
_OTHERS: Final = ("#56a5d8", "#c0392b", "#7f8c2d", "#8d6e63", "#5b5ea6")

# Okabe and Ito's colors first, then darker and lighter companions that stay apart from them.
GROUPS: Final = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#8c510a",
    "#5e3c99",
    "#1b7837",
    "#b2182b",
)
GROUP_SYMBOLS: Final = ("circle", "diamond", "square", "triangle-up", "cross", "star")
UNGROUPED: Final = "#b8c2cc"

STAINS: Final = {
    "dna": (76, 126, 255),
    "er": (64, 214, 120),
    "rna": (255, 196, 64),
    "agp": (255, 96, 72),
    "mito": (214, 88, 230),
    "actin": (255, 128, 48),
    "tubulin": (72, 220, 130),
    "golgi": (255, 236, 110),
}
_STAIN_ORDER: Final = ("dna", "er", "agp", "mito", "rna", "actin")


def encoder_color(name: str, *, position: int = 0) -> str:
    """The color of an encoder, by its name; unknown ones take turns."""
    return ENCODERS.get(name, _OTHERS[position % len(_OTHERS)])


def in_order(names: Iterable[str]) -> list[str]:
    """Names of encoders, each once: the trained one first, then its baselines, then others as they come."""
    known = list(ENCODERS)
    unique = list(dict.fromkeys(names))
    return sorted(unique, key=lambda name: known.index(name) if name in known else len(known))


def encoder_label(name: str) -> str:
    """How an encoder is called in prose."""
    names = {
        "trained": "trained encoder",
        "mae": "MAE",
        "mae_fourier": "MAE with Fourier loss",
        "ca_mae": "CA-MAE",
        "mu_net": "MU-Net",
        "wsl": "weakly supervised ViT",
        "untrained": "untrained encoder",
        "pixel_statistics": "pixel statistics",
        ORACLE: "oracle (planted truth)",
    }
    return names.get(name, name.replace("_", " "))


def stain_color(name: str, *, position: int = 0) -> tuple[int, int, int]:
    """The color in which a stain is shown; stains that are not known take turns."""
    words = re.split(r"[^a-z]+", name.lower())
    for stain, color in STAINS.items():
        if any(word == stain or (len(stain) > 3 and word.startswith(stain)) for word in words):
            return color
    if any(word.startswith(("dapi", "hoechst", "nucle")) for word in words):
        return STAINS["dna"]
    return STAINS[_STAIN_ORDER[position % len(_STAIN_ORDER)]]


def group_style(index: int) -> tuple[str, str]:
    """Color and symbol of a group: different for the first sixty."""
    return GROUPS[index % len(GROUPS)], GROUP_SYMBOLS[(index // len(GROUPS)) % len(GROUP_SYMBOLS)]
