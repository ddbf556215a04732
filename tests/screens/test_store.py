"""Reading stores: the same pixels by crop as by field, and only the bytes that a crop needs."""

import json

import numpy as np
import pandas as pd
import pytest
import tensorstore as ts

from phenoscale.errors import UserError
from phenoscale.schema.wells import parse_wells
from phenoscale.screens.store import common_channels, open_screen, united_channels
from phenoscale.screens.writer import PlateFormat
from tests.support.screens import make_tiny_store, tiny_pixels, tiny_plate, write_plate, write_store_header


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return open_screen(make_tiny_store(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """One plate of 600 x 700 px noise, which does not compress, so that bytes read show chunks read."""
    folder = tmp_path_factory.mktemp("large")
    wells = parse_wells(tiny_plate("E1", "P1", num_genes=1), source="t").frame
    pixel_format = PlateFormat(("DNA", "ER"), "uint16", height=600, width=700, intensity_scale=65535.0)
    entry = write_plate(folder, wells, pixels=map(_noise, range(len(wells))), format=pixel_format)
    write_store_header(folder, [entry], format=pixel_format)
    return folder


def _noise(row):
    return np.random.default_rng(row).integers(0, 2**16, (2, 600, 700), dtype=np.uint16)


def test_every_field_is_read_as_it_was_written(tiny):
    for well in tiny.wells.itertuples():
        pixels = tiny.read(well.plate_index, well.field_index)
        assert (pixels == tiny_pixels(well, num_channels=3, size=40, dtype="uint16", seed=0)).all()


def test_the_well_table_spans_all_plates_and_addresses_every_field_once(tiny):
    wells = tiny.wells
    assert len(wells) == sum(plate.num_fields for plate in tiny.header.plates)
    assert not wells.duplicated(["plate_index", "field_index"]).any()
    assert wells["field_id"].is_unique
    for index, plate in enumerate(tiny.header.plates):
        rows = wells[wells["plate_index"] == index]
        assert set(zip(rows["experiment"], rows["plate"], strict=True)) == {(plate.experiment, plate.plate)}
        assert rows["field_index"].tolist() == list(range(plate.num_fields))
        assert (tiny.height(index), tiny.width(index)) == (40, 40)


def test_crops_equal_cut_outs_of_the_field_wherever_they_lie(large):
    store = open_screen(large)
    rng = np.random.default_rng(0)
    for _ in range(30):
        size = int(rng.integers(1, 300))
        top, left = int(rng.integers(0, 600 - size + 1)), int(rng.integers(0, 700 - size + 1))
        row = int(rng.integers(0, store.header.plates[0].num_fields))
        crop = store.crop(0, row, top=top, left=left, size=size).result()
        assert crop.dtype == np.uint16
        assert (crop == _noise(row)[:, top : top + size, left : left + size]).all()


def test_crops_are_read_asynchronously_and_may_be_awaited_in_any_order(large):
    store = open_screen(large)
    futures = {
        (row, top): store.crop(0, row, top=top, left=top, size=64)
        for row in range(3)
        for top in (0, 200, 500)
    }
    for (row, top), future in reversed(futures.items()):
        assert (future.result() == _noise(row)[:, top : top + 64, top : top + 64]).all()


def _bytes_read():
    metrics = ts.experimental_collect_matching_metrics("/tensorstore/kvstore/file/bytes_read")
    return sum(value["value"] for metric in metrics for value in metric["values"])


@pytest.mark.parametrize(
    ("top", "left", "num_chunks"), [(0, 0, 1), (0, 100, 2), (250, 250, 4), (300, 400, 4)]
)
def test_a_crop_reads_the_inner_chunks_that_it_touches_and_no_more(large, top, left, num_chunks):
    store = open_screen(large)
    row = [(0, 0), (0, 100), (250, 250), (300, 400)].index((top, left))  # a field that was not read before
    store.crop(0, 6, top=0, left=0, size=1).result()
    before = _bytes_read()
    store.crop(0, row, top=top, left=left, size=256).result()
    chunk_bytes = 2 * 256 * 256 * 2
    shard_index_bytes = 16 * 9 + 4
    # chunks at the rim are whole too, their padding compresses to nearly nothing; no metadata is read
    assert _bytes_read() - before <= num_chunks * (chunk_bytes * 1.01 + 20) + shard_index_bytes


def test_a_rewritten_store_is_read_anew_when_it_is_opened_again(tmp_path):
    before = open_screen(make_tiny_store(tmp_path, num_experiments=1, num_plates=1, seed=0)).read(0, 0)
    after = open_screen(make_tiny_store(tmp_path, num_experiments=1, num_plates=1, seed=1)).read(0, 0)
    assert not (before == after).all()


def test_a_store_whose_header_or_plate_is_missing_is_refused(tmp_path):
    folder = make_tiny_store(tmp_path / "store", num_experiments=1)
    (folder / "plates" / "E1" / "P2" / "wells.parquet").unlink()
    with pytest.raises(UserError, match="plate E1/P2 is gone"):
        open_screen(folder)
    (folder / "screen.json").unlink()
    with pytest.raises(UserError, match="not a screen store"):
        open_screen(folder)


def test_stores_of_other_channels_or_scales_are_not_read_together(tmp_path, tiny):
    fewer = open_screen(make_tiny_store(tmp_path / "fewer", channels=2, num_plates=1))
    eight_bit = open_screen(make_tiny_store(tmp_path / "eight", dtype="uint8", num_plates=1))
    assert common_channels([tiny, tiny]) == ("DNA", "ER", "RNA")
    with pytest.raises(UserError, match=r"DNA\|ER\|RNA in .* and DNA\|ER in"):
        common_channels([tiny, fewer])
    with pytest.raises(UserError, match="different pixels"):
        common_channels([tiny, eight_bit])
    with pytest.raises(UserError, match="different pixels"):
        united_channels([tiny, eight_bit])


def test_channels_unite_in_the_order_in_which_they_appear(tmp_path, tiny):
    other = open_screen(make_tiny_store(tmp_path, channels=("AGP", "ER", "Mito"), num_plates=1))
    assert united_channels([tiny, other]) == ("DNA", "ER", "RNA", "AGP", "Mito")
    assert united_channels([other, tiny]) == ("AGP", "ER", "Mito", "DNA", "RNA")


def test_the_digest_is_in_the_files_and_not_in_their_place(tmp_path, tiny):
    copied = open_screen(make_tiny_store(tmp_path / "copied"))
    assert copied.digest == tiny.digest
    record = json.loads((tiny.folder / "plates" / "E1" / "P1" / "plate.json").read_text())
    assert record["entry"]["digest"] == tiny.header.plates[0].digest
    assert str(tiny.folder) not in (tiny.folder / "screen.json").read_text()


def test_a_field_whose_file_is_gone_is_an_error_and_not_black(tmp_path):
    folder = make_tiny_store(tmp_path, num_experiments=1, num_plates=1)
    for shard in folder.rglob("c.0.0.0"):
        shard.unlink()
    with pytest.raises(ValueError, match="is missing"):
        open_screen(folder).read(0, 0)


def test_black_fields_are_kept(tmp_path):
    wells = parse_wells(tiny_plate("E1", "P1"), source="t").frame
    pixel_format = PlateFormat(("DNA",), "uint8", height=300, width=300, intensity_scale=255.0)
    black = np.zeros((1, 300, 300), dtype=np.uint8)
    entry = write_plate(tmp_path, wells, pixels=[black] * len(wells), format=pixel_format)
    write_store_header(tmp_path, [entry], format=pixel_format)
    assert not open_screen(tmp_path).read(0, 2).any()


def test_cells_are_read_as_they_were_written(tmp_path):
    frame = pd.concat([tiny_plate("E1", "P1").iloc[:2]] * 400, ignore_index=True)
    wells = parse_wells(frame.assign(object=range(800)), source="t").frame
    pixel_format = PlateFormat(("DNA", "ER"), "uint16", height=30, width=20, intensity_scale=65535.0)
    cells = np.random.default_rng(0).integers(0, 2**16, (800, 2, 30, 20), dtype=np.uint16)
    pixels = [None if number == 5 else cell for number, cell in enumerate(cells)]
    entry = write_plate(tmp_path, wells, pixels=pixels, format=pixel_format)
    write_store_header(tmp_path, [entry], format=pixel_format)
    store = open_screen(tmp_path)
    for index, number in [(0, 0), (4, 4), (5, 6), (600, 601), (798, 799)]:
        assert (store.read(0, index) == cells[number]).all()
        assert (store.crop(0, index, top=3, left=2, size=9).result() == cells[number][:, 3:12, 2:11]).all()
