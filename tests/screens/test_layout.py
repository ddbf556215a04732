"""The array of a plate: shards, inner chunks and folder names."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenoscale.errors import RetryError
from phenoscale.screens.layout import PlateShape, create_array, plate_folder, retry_when_disk_full

names = st.text(min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("height", "width", "inner", "shard"),
    [
        (2048, 2048, (1, 6, 256, 256), (1, 6, 2048, 2048)),
        (1080, 1080, (1, 6, 256, 256), (1, 6, 1280, 1280)),
        (68, 68, (1, 6, 68, 68), (1, 6, 68, 68)),
        (200, 300, (1, 6, 200, 256), (1, 6, 200, 512)),
    ],
)
def test_a_shard_is_a_field_and_an_inner_chunk_at_most_256_pixels_wide(height, width, inner, shard):
    shape = PlateShape(10, 6, height, width, "uint16")
    assert shape.inner_chunk == inner
    assert shape.shard == shard


@given(st.integers(1, 3000), st.integers(1, 3000), st.data())
def test_a_crop_of_up_to_256_pixels_touches_at_most_four_inner_chunks(height, width, data):
    _, _, chunk_height, chunk_width = PlateShape(1, 1, height, width, "uint8").inner_chunk
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


def test_the_array_is_zarr_version_3_with_sharding_and_a_lossless_codec(tmp_path):
    shape = PlateShape(3, 2, 300, 300, "uint16")
    array = create_array(tmp_path / "a.zarr", shape, attributes={"channels": ["DNA", "ER"]})
    pixels = np.random.default_rng(0).integers(0, 2**16, (2, 300, 300), dtype=np.uint16)
    array[1].write(pixels).result()
    assert (array[1].read().result() == pixels).all()
    metadata = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())
    assert metadata["zarr_format"] == 3
    assert metadata["dimension_names"] == ["field", "channel", "y", "x"]
    assert metadata["attributes"] == {"channels": ["DNA", "ER"]}
    assert [codec["name"] for codec in metadata["codecs"]] == ["sharding_indexed"]
    files = sorted(path.name for path in (tmp_path / "a.zarr").rglob("*") if path.is_file())
    assert files == ["c.1.0.0.0", "zarr.json"]


def test_a_full_disk_is_a_retry_and_any_other_error_stays_itself():
    with (
        pytest.raises(RetryError, match="no space left to write the plate"),
        retry_when_disk_full("the plate"),
    ):
        raise ValueError("RESOURCE_EXHAUSTED: Error writing: No space left on device")
    with pytest.raises(ValueError, match="other"), retry_when_disk_full("the plate"):
        raise ValueError("other")
