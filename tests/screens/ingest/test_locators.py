"""Locators: files and parts of files, all under one folder."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenoscale.errors import UserError
from phenoscale.screens.ingest.locators import BadImageError, Locator, parse_locator, resolve_file


@pytest.mark.parametrize(
    ("text", "locator"),
    [
        ("a/b.tif", Locator("a/b.tif")),
        ("a.tif#page=3", Locator("a.tif", page=3)),
        ("stacks/Week4.tif#index=17", Locator("stacks/Week4.tif", index=17)),
        ("a.tif#index=2&page=0", Locator("a.tif", page=0, index=2)),
        ("s3://bucket/a b.png", Locator("s3://bucket/a b.png")),
    ],
)
def test_a_locator_names_a_file_and_a_part_of_it(text, locator):
    assert parse_locator(text) == locator


@given(
    st.text(min_size=1, alphabet="ab/. _-"),
    st.none() | st.integers(0, 9999),
    st.none() | st.integers(0, 9999),
)
def test_a_locator_survives_writing_and_reading(file, page, index):
    locator = Locator(file, page=page, index=index)
    assert parse_locator(str(locator)) == locator


@pytest.mark.parametrize(
    "text", ["", "#page=1", "a.tif#", "a.tif#3", "a.tif#page=", "a.tif#page=-1", "a.tif#plane=1", "a#page=²"]
)
def test_a_locator_that_cannot_be_read_is_a_bad_image(text):
    with pytest.raises(BadImageError):
        parse_locator(text)


@given(st.text())
def test_any_text_is_a_locator_or_a_bad_image_and_nothing_else(text):
    try:
        assert parse_locator(text).file
    except BadImageError as error:
        assert str(error)


def test_relative_files_start_from_the_base_and_absolute_ones_must_lie_in_it():
    assert resolve_file("images/a.tif", base="/data/screen/") == "/data/screen/images/a.tif"
    assert resolve_file("/data/screen/x/../a.tif", base="/data/screen") == "/data/screen/a.tif"
    assert resolve_file("a.tif", base="s3://bucket/screen/") == "s3://bucket/screen/a.tif"
    assert resolve_file("s3://bucket/screen/a.tif", base="s3://bucket/screen") == "s3://bucket/screen/a.tif"


@pytest.mark.parametrize(
    ("file", "base"),
    [
        ("../other/a.tif", "/data/screen"),
        ("/data/screen2/a.tif", "/data/screen"),
        ("s3://bucket/other/a.tif", "s3://bucket/screen"),
        ("s3://bucket/a.tif", "/data/screen"),
        ("../a.tif", "s3://bucket/screen"),
    ],
)
def test_a_file_outside_the_base_is_refused_because_its_bytes_would_not_count(file, base):
    with pytest.raises(UserError, match="set `path`"):
        resolve_file(file, base=base)
