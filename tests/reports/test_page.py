"""The page in a real browser: quiet, offline, and with something to see."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.reports.conftest import Reported
from tests.support.browser import Page, opened

SIZES = """
Array.from(document.querySelectorAll('.plate > svg, .plate img, .plotly-graph-div .main-svg')).map(
  function (e) {
    var box = e.getBoundingClientRect();
    return [e.closest('section').id, box.width, box.height];
  })
"""
FILTER = """
(function () {
  var input = document.querySelector('input[data-filters]');
  input.value = 'recall trained final';
  input.dispatchEvent(new Event('input'));
})()
"""
SHOWN = """
Array.from(document.querySelectorAll('#rows-table tbody tr'))
  .filter(function (row) { return row.style.display !== 'none'; })
  .map(function (row) { return row.cells[0].textContent + ' ' + row.cells[3].textContent; })
"""
VALUES = """
Array.from(document.querySelectorAll('#rows-table tbody tr'))
  .map(function (row) { return parseFloat(row.cells[4].textContent); })
  .filter(function (value) { return !isNaN(value); })
"""
PRESS_SECOND_BUTTON = """
document.querySelectorAll('#map-overview .updatemenu-button')[1]
  .dispatchEvent(new MouseEvent('click', {bubbles: true}))
"""


@pytest.fixture(scope="module")
def page(reported: Reported) -> Iterator[Page]:
    with opened(reported.file) as page:
        page.wait_until("document.querySelectorAll('.plotly-graph-div .main-svg').length >= 2")
        yield page


def test_the_page_complains_about_nothing_and_loads_nothing(page: Page, reported: Reported) -> None:
    assert page.complaints == []
    loaded = [place for place in page.requests if not place.startswith(("data:", "about:", "blob:"))]
    assert loaded == [reported.file.resolve().as_uri()]


def test_every_figure_has_a_size(page: Page) -> None:
    sizes = page.evaluate(SIZES)
    assert len(sizes) >= 25
    small = [entry for entry in sizes if min(entry[1], entry[2]) < 30]
    assert small == []
    assert {"training", "reconstructions", "probes", "recall", "batch-effects", "map", "lineage"} <= {
        entry[0] for entry in sizes
    }


def test_no_text_or_figure_sticks_out_of_the_page(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_rows_can_be_filtered_and_sorted(page: Page) -> None:
    page.evaluate(FILTER)
    assert set(page.evaluate(SHOWN)) == {"recall trained", "recall untrained"}
    page.evaluate("document.querySelector('#rows-table thead th:nth-child(5)').click()")
    values = page.evaluate(VALUES)
    assert values == sorted(values)


def test_the_map_switches_between_its_layouts(page: Page) -> None:
    first = page.evaluate("document.getElementById('map-overview').data[0].x[0]")
    page.evaluate(PRESS_SECOND_BUTTON)
    page.wait_until(f"document.getElementById('map-overview').data[0].x[0] !== {first}")
