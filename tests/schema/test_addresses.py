"""Well addresses up to the 1536-well plate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenoscale.errors import UserError
from phenoscale.schema.addresses import format_address, is_address, split_address


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("A01", (0, 0)),
        ("B02", (1, 1)),
        ("Z43", (25, 42)),
        ("AA41", (26, 40)),
        ("AD27", (29, 26)),
        ("AF48", (31, 47)),
    ],
)
def test_published_addresses_name_their_row_and_column(address, place):
    assert split_address(address) == place


@given(st.integers(0, 31), st.integers(0, 47))
def test_every_well_of_a_1536_well_plate_survives_writing_and_reading(row, column):
    assert split_address(format_address(row, column)) == (row, column)


def test_all_addresses_of_a_plate_differ():
    addresses = {format_address(row, column) for row in range(32) for column in range(48)}
    assert len(addresses) == 1536


@pytest.mark.parametrize("address", ["a1", "A1", "A01", "A001"])
def test_case_and_leading_zeros_do_not_matter(address):
    assert split_address(address) == (0, 0)


@pytest.mark.parametrize(
    "address", ["", "A", "1", "1A", "A00", "A0", "A49", "AG01", "AAA1", "A-1", "A1.0", "Ä1", "A¹"]
)
def test_anything_off_the_plate_is_refused_with_an_example(address):
    assert not is_address(address)
    with pytest.raises(UserError, match="B02 or AF48"):
        split_address(address)


@given(st.text(max_size=6))
def test_any_text_is_an_address_or_a_user_error_and_nothing_else(text):
    if is_address(text):
        assert is_address(format_address(*split_address(text)))
    else:
        with pytest.raises(UserError):
            split_address(text)
