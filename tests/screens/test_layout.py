"""The array of a plate: shards, inner chunks and folder names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenoscale.screens.layout import (
    PlateShape,
    array_path,
    layout_of,
    plate_folder,
)

names = st.text(min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("height", "width", "inner", "shard"),
    [
        (2048, 2048, (6, 256, 256), (6, 2048, 2048)),
        (1080, 1080, (6, 256, 256), (6, 1280, 1280)),
        (68, 68, (6, 68, 68), (6, 68, 68)),
        (200, 300, (6, 200, 256), (6, 200, 512)),
    ],
)
def test_a_shard_is_a_field_and_an_inner_chunk_at_most_256_pixels_wide(height, width, inner, shard):
    shape = PlateShape("fields", 10, 6, height, width, "uint16")
    assert shape.inner_chunk == inner
    assert shape.shard == shard


@given(st.integers(1, 3000), st.integers(1, 3000), st.data())
def test_a_crop_of_up_to_256_pixels_touches_at_most_four_inner_chunks(height, width, data):
    _, chunk_height, chunk_width = PlateShape("fields", 1, 1, height, width, "uint8").inner_chunk
    size = data.draw(st.integers(1, min(256, height, width)))
    top, left = data.draw(st.integers(0, height - size)), data.draw(st.integers(0, width - size))
    rows = (top + size - 1) // chunk_height - top // chunk_height + 1
    columns = (left + size - 1) // chunk_width - left // chunk_width + 1
    assert rows * columns <= 4


@given(names, names, names, names)
def test_two_plates_never_share_a_folder(experiment, plate, other_experiment, other_plate):
    folders = plate_folder(experiment, plate), plate_folder(other_experiment, other_plate)
    assert (folders[0] == folders[1]) == ((experiment, plate) == (other_experiment, other_plate))


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../../etc", "a%2Fb"])
def test_no_name_of_a_plate_leads_out_of_the_store(name):
    parts = plate_folder(name, name).split("/")
    assert len(parts) == 3
    assert not {"", ".", ".."} & set(parts)


def test_cells_are_told_from_fields_by_their_object():
    assert layout_of([0, 0, 0]) == "fields"
    assert layout_of([0, 1]) == layout_of([7]) == "crops"


@pytest.mark.parametrize(("size", "number"), [(68, 512), (100, 279), (256, 42), (3000, 1)])
def test_as_many_cells_share_a_file_as_fit_into_32_megabytes(size, number):
    assert PlateShape("crops", 9, 6, size, size, "uint16").fields_per_shard == number


def test_every_field_of_a_plate_has_a_path_of_its_own():
    assert array_path("B02", 1) == "B/2/1/0"
    assert array_path("AF48", 12) == "AF/48/12/0"
