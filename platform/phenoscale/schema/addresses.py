"""Well addresses: letters are rows (A to AF), numbers are columns (1 to 48), up to the 1536-well plate."""

from __future__ import annotations

import re
from typing import Final

from phenoscale.errors import UserError

MAX_ROWS: Final = 32
MAX_COLUMNS: Final = 48
_ADDRESS: Final = re.compile(r"([A-Za-z]{1,2})(0{0,2}[1-9][0-9]?)")


def split_address(address: str) -> tuple[int, int]:
    """Return the 0-based row and column of a well address: `AF48` is (31, 47).

    Raises:
        UserError: the address is not on a 1536-well plate.
    """
    match = _ADDRESS.fullmatch(address)
    if match is not None:
        row, column = _row_number(match[1]), int(match[2]) - 1
        if row < MAX_ROWS and column < MAX_COLUMNS:
            return row, column
    raise UserError(
        f"well {address!r} is not an address; write the row, A to AF, and the column, 1 to 48: B02 or AF48"
    )


def format_address(row: int, column: int) -> str:
    """Return the address of a 0-based row and column, with a two-digit column: (1, 1) is `B02`."""
    assert 0 <= row < MAX_ROWS, f"row {row} is outside 0 to {MAX_ROWS - 1}"
    assert 0 <= column < MAX_COLUMNS, f"column {column} is outside 0 to {MAX_COLUMNS - 1}"
    letters = chr(ord("A") + row) if row < 26 else "A" + chr(ord("A") + row - 26)
    return f"{letters}{column + 1:02d}"


def is_address(address: str) -> bool:
    """Say whether a string is a well address."""
    try:
        split_address(address)
    except UserError:
        return False
    return True


def canonical_address(well: str) -> str:
    """Return an address in its one form, and any other text as it is."""
    return format_address(*split_address(well)) if is_address(well) else well


def _row_number(letters: str) -> int:
    number = 0
    for letter in letters.upper():
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1
