"""One plate: what is quarantined, what is recorded, what is reused."""

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from phenoscale.errors import RetryError, UserError
from phenoscale.screens.ingest.config import IngestConfig
from phenoscale.screens.ingest.plates import PixelSettings, PlateIngest, summarize_reasons
from phenoscale.screens.ingest.readers.table import plan_table
from phenoscale.screens.ingest.sources import files_of, list_files
from phenoscale.stages import Output
from phenoscale.storage import digest_file
from tests.support.plates import make_plate_files, plate_pixels, write_image

AS_THE_IMAGES = PixelSettings(
    dtype="", height=None, width=None, intensity_scale=None, pixel_size_um=None, saturation_level=0.999
)


def _ingest(source, store, *, settings=AS_THE_IMAGES, dtype="", before=lambda: None):
    """Ingest a source of one plate; `before` is called between the listing of its files and their reading."""
    plan = plan_table(IngestConfig(path=str(source)))
    listing = list_files(files_of(plan.wells.frame["image"]), base=plan.base)
    before()
    with ThreadPoolExecutor(2) as executor:
        ingest = PlateIngest(Output(store), plan, listing, settings, executor=executor, window=4)
        return ingest.plate(plan.wells.frame, dtype=dtype)


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    make_plate_files(folder, plates=[("E1", "P1")])
    return folder


def test_a_bad_image_is_quarantined_with_its_key_and_reason(source, tmp_path):
    table = pd.read_csv(source / "fields.csv")
    (source / table["image_ER"][3]).write_bytes(b"")
    plate = _ingest(source, tmp_path / "store")
    assert plate.entry.num_fields == len(table) - 1
    assert plate.quarantined["well"].tolist() == [table["well"][3]]
    assert plate.quarantined["reason"].tolist() == [f"{table['image_ER'][3]}: is empty"]
    kept = pd.read_parquet(tmp_path / "store" / plate.entry.folder / "wells.parquet")
    assert table["well"][3] not in set(kept["well"])


def test_the_digest_of_every_source_file_is_kept_with_the_plate(source, tmp_path):
    plate = _ingest(source, tmp_path / "store")
    sources = pd.read_parquet(tmp_path / "store" / plate.entry.folder / "sources.parquet")
    assert len(sources) == 2 * plate.entry.num_fields
    for row in sources.itertuples():
        assert row.digest == digest_file(source / row.file)


def test_a_published_plate_is_found_with_its_quarantine_and_nothing_is_read(source, tmp_path):
    (source / pd.read_csv(source / "fields.csv")["image_DNA"][0]).unlink()
    first = _ingest(source, tmp_path / "store")
    again = _ingest(source, tmp_path / "store")
    num_bytes = sum(path.stat().st_size for path in source.rglob("*.tif"))
    # the other channel of the field whose first one is missing is not needed
    assert 0.9 * num_bytes < first.num_bytes_read < num_bytes
    assert again.num_bytes_read is None
    assert (again.entry, again.format) == (first.entry, first.format)
    pd.testing.assert_frame_equal(again.quarantined, first.quarantined)


def test_a_found_plate_of_another_pixel_type_than_the_screen_is_read_again(source, tmp_path):
    for path in list(source.rglob("*.tif"))[:2]:
        write_image(path, plate_pixels(path.name).astype(np.uint8))
    assert _ingest(source, tmp_path / "store").format.dtype == "uint16"
    with pytest.raises(UserError, match="the fields of this plate are 24 x 24 uint8"):
        _ingest(source, tmp_path / "store", dtype="uint8")


def test_a_file_that_changes_while_it_is_read_is_a_retry_and_its_plate_is_not_kept(source, tmp_path):
    changed = next(source.rglob("*.tif"))
    with pytest.raises(RetryError, match=f"1 files.*{changed.name}"):
        _ingest(source, tmp_path / "store", before=lambda: os.utime(changed, ns=(1, 1)))
    assert not Output(tmp_path / "store").has("tiny/E1/P1")
    assert not list((tmp_path / "store").rglob("plate.json"))


def test_the_intensity_scale_is_the_largest_value_of_the_pixel_type_by_default(source, tmp_path):
    assert _ingest(source, tmp_path / "store").format.intensity_scale == 65535.0


def test_a_plate_without_one_usable_image_ends_with_the_reasons(source, tmp_path):
    for path in source.rglob("*.tif"):
        path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match=r"plate E1/P1: none of its \d+ images can be used.*and \d more"):
        _ingest(source, tmp_path / "store")


def test_a_plate_of_another_size_than_the_config_says_ends_with_the_reasons(source, tmp_path):
    settings = dataclasses.replace(AS_THE_IMAGES, height=512, width=512)
    with pytest.raises(UserError, match="is 24 x 24 uint16, the fields of this plate are 512 x 512 uint16"):
        _ingest(source, tmp_path / "store", settings=settings)


def test_five_reasons_are_shown_and_the_rest_counted():
    assert summarize_reasons(["a"]) == "Reasons: a"
    assert summarize_reasons(list("abcdefgh")) == "Reasons: a; b; c; d; e; and 3 more"
