"""Drawings as inline SVG."""

from __future__ import annotations

import re

from phenoscale.reports.figures.canvas import drawing


def draw(name: str) -> str:
    with drawing(width=4, height=2, name=name, alt='points & "lines" <here>') as shown:
        axes = shown.figure.add_subplot()
        axes.plot([0, 1, 2], [1, 3, 2], marker="o")
        axes.set_xlabel("step")
    return str(shown.svg)


def test_the_same_drawing_gives_the_same_bytes() -> None:
    assert draw("one") == draw("one")


def test_identifiers_carry_the_name_and_every_reference_is_defined() -> None:
    svg = draw("one")
    names = re.findall(r'\bid="([^"]+)"', svg)
    assert names
    assert all(name.startswith("one-") for name in names)
    references = re.findall(r'(?:href="|url\()#([^")]+)', svg)
    assert references
    assert set(references) <= set(names)
    assert not set(names) & set(re.findall(r'\bid="([^"]+)"', draw("two")))


def test_the_page_decides_size_and_font_and_readers_hear_what_is_shown() -> None:
    svg = draw("one")
    opening = svg[: svg.index(">")]
    assert "viewBox" in opening
    assert " width=" not in opening
    assert """aria-label="points and 'lines' here>""" in svg
    assert "DejaVu" not in svg
    assert "<text" in svg
    assert "<metadata" not in svg
