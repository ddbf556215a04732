"""Real microscopy next to the checkout: read in place, never copied into it."""

import os
from pathlib import Path

import pytest

VARIABLE = "PHENOSCALE_TEST_DATA"
_BESIDE_THE_CHECKOUT = Path(__file__).resolve().parents[3] / "shared" / "data"


def data_root() -> Path:
    """Where real data are looked for: $PHENOSCALE_TEST_DATA, else `../shared/data` beside the checkout."""
    return Path(os.environ.get(VARIABLE) or _BESIDE_THE_CHECKOUT)


def find_real_data(name: str) -> Path:
    """The folder `name` of the real data, or a skip that says what was looked for."""
    place = data_root() / name
    if not place.exists():
        pytest.skip(f"no real data at {place}; set PHENOSCALE_TEST_DATA to the folder that holds {name}")
    return place
