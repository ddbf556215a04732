"""Small pieces of HTML."""

from __future__ import annotations

import pytest

from phenoscale.reports.markup import Markup, duration, interval, join, number, percent, plural, table, tag


def test_text_is_escaped_and_markup_is_not() -> None:
    assert tag("p", "a < b & c", Markup("<i>x</i>")) == "<p>a &lt; b &amp; c<i>x</i></p>"
    assert tag("p", tag("b", "<")) == "<p><b>&lt;</b></p>"


def test_attributes_are_quoted_and_absent_ones_left_out() -> None:
    assert tag("a", "x", href='"y"', class_="k", title=None) == '<a href="&quot;y&quot;" class="k">x</a>'
    assert tag("input", disabled=True, data_filters="rows") == '<input disabled data-filters="rows">'


def test_joining_leaves_out_what_is_none() -> None:
    assert join(["a", None, Markup("<br>"), "&"]) == "a<br>&amp;"


def test_numeric_columns_are_marked_in_head_and_body() -> None:
    html = table(["name", "n"], [["a", "1"]], numeric=(1,))
    assert html.count('class="number"') == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "—"), (0.12345, "0.123"), (96000.0, "96,000"), (2.0, "2.000"), (-0.5, "-0.500")],
)
def test_numbers_are_written_with_fixed_decimals_and_grouped_thousands(
    value: float | None, text: str
) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (42, "42 s"), (125, "2 min 05 s"), (3725, "1 h 02 min")]
)
def test_durations_read_as_a_person_says_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_shares_intervals_and_counts_read_well() -> None:
    assert percent(0.125, digits=1) == "12.5\u00a0%"
    assert interval(0.1, 0.25) == "[0.100, 0.250]"
    assert interval(None, 0.2) == ""
    assert [plural(1, "plate"), plural(2, "plate"), plural(1200, "class")] == [
        "1 plate",
        "2 plates",
        "1,200 classes",
    ]
