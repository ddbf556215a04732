"""Plates of fields are OME-Zarr 0.5 plates for other tools: yaozarrs accepts them, zarr-python reads them."""

import json

import numpy as np
import pytest
import yaozarrs
import zarr

from phenoscale.schema.wells import parse_wells
from phenoscale.screens.ome import plate_group
from phenoscale.screens.store import open_screen
from phenoscale.screens.writer import PlateFormat
from tests.support.screens import make_tiny_store, tiny_pixels, tiny_plate, write_plate


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    return open_screen(make_tiny_store(folder, num_experiments=1, num_plates=1, num_sites=2, size=300))


@pytest.fixture(scope="module")
def plate(store):
    return store.folder / store.header.plates[0].folder / "images.zarr"


def test_a_plate_with_its_wells_and_images_is_valid(plate):
    yaozarrs.validate_zarr_store(str(plate))
    for group in plate.rglob("zarr.json"):
        content = json.loads(group.read_text())
        if content["node_type"] == "group":
            assert content["attributes"]["ome"]["version"] == "0.5"
            yaozarrs.validate_ome_json(json.dumps(content["attributes"]["ome"]))


def test_every_field_is_read_bit_equal_by_another_library(store, plate):
    group = zarr.open_group(plate, mode="r")
    for well in store.wells.itertuples():
        path = f"{well.well[0]}/{int(well.well[1:])}/{well.site}/0"
        expected = tiny_pixels(well, num_channels=3, size=300, dtype="uint16", seed=0)
        assert (np.asarray(group[path]) == expected).all()


def test_the_names_of_an_array_s_dimensions_are_those_of_its_image_s_axes(plate):
    arrays = [path for path in plate.rglob("0/zarr.json") if "codecs" in path.read_text()]
    assert len(arrays) == 22
    for path in arrays:
        [image] = json.loads((path.parents[1] / "zarr.json").read_text())["attributes"]["ome"]["multiscales"]
        names = [axis["name"] for axis in image["axes"]]
        assert json.loads(path.read_text())["dimension_names"] == names == ["c", "y", "x"]


def test_the_plate_says_what_it_is(store, plate):
    attributes = json.loads((plate / "zarr.json").read_text())["attributes"]
    described = attributes["ome"]["plate"]
    assert (len(described["rows"]), len(described["columns"]), described["field_count"]) == (16, 24, 2)
    assert described["name"] == "P1" and described["rows"][15] == {"name": "P"}
    assert len(described["wells"]) == 11
    assert attributes["phenoscale"]["format"]["intensity_scale"] == 65535.0
    assert attributes["phenoscale"]["entry"]["digest"] == store.header.plates[0].digest


def test_pixel_size_channels_and_gray_levels_are_those_of_the_plate(store, plate):
    well = store.wells.iloc[0]
    image = plate / well["well"][0] / str(int(well["well"][1:])) / "1" / "zarr.json"
    described = json.loads(image.read_text())["attributes"]["ome"]
    [scale] = described["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    assert scale == {"type": "scale", "scale": [1.0, 0.65, 0.65]}
    shown = described["omero"]["channels"]
    assert [channel["label"] for channel in shown] == ["DNA", "ER", "RNA"]
    quality = store.quality(0)
    for channel in shown:
        window = channel["window"]
        assert window["min"] == 0 and window["max"] == 65535
        assert window["start"] == int(quality[f"background_{channel['label']}"].median())
        assert window["start"] < window["end"] <= 65535


@pytest.mark.parametrize(("wells", "size"), [(["A01", "H12"], 96), (["A13"], 384), (["Q01"], 1536)])
def test_a_plate_has_all_the_rows_and_columns_that_it_is_made_with(wells, size):
    content = json.loads(plate_group({wells[0]: [1]}, name="P", all_wells=wells, attributes={}))
    described = content["attributes"]["ome"]["plate"]
    assert len(described["rows"]) * len(described["columns"]) == size
    assert [well["path"] for well in described["wells"]] == [f"{wells[0][0]}/{int(wells[0][1:])}"]


def test_a_plate_of_cells_is_one_array_for_another_library(tmp_path):
    wells = parse_wells(tiny_plate("E1", "P1").assign(object=3), source="t").frame
    cells = np.random.default_rng(0).integers(0, 2**16, (len(wells), 2, 20, 30), dtype=np.uint16)
    pixel_format = PlateFormat(("DNA", "ER"), "uint16", height=20, width=30, intensity_scale=65535.0)
    entry = write_plate(tmp_path, wells, pixels=cells, format=pixel_format)
    array = zarr.open_array(tmp_path / entry.folder / "images.zarr", mode="r")
    assert array.metadata.dimension_names == ("object", "c", "y", "x")
    assert (np.asarray(array) == cells).all()
