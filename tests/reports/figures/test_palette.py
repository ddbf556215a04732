"""Colors: the same thing in the same color."""

from __future__ import annotations

from phenoscale.reports.figures.palette import STAINS, encoder_color, in_order, stain_color


def test_stains_are_recognized_in_the_names_that_laboratories_use() -> None:
    for name, stain in {
        "DNA": "dna",
        "Hoechst 33342": "dna",
        "F-actin": "actin",
        "B-tubulin": "tubulin",
        "MitoTracker": "mito",
        "ER": "er",
    }.items():
        assert stain_color(name, position=5) == STAINS[stain], name


def test_unknown_stains_next_to_each_other_differ() -> None:
    colors = [stain_color(f"w{position}", position=position) for position in range(6)]
    assert len(set(colors)) == 6


def test_the_trained_encoder_comes_first_and_strangers_last() -> None:
    names = ["pixel_statistics", "OpenPhenom", "untrained", "trained", "untrained"]
    assert in_order(names) == ["trained", "untrained", "pixel_statistics", "OpenPhenom"]
    assert encoder_color("trained") == encoder_color("trained", position=3)
