"""One plate: what is quarantined, what is recorded, what is reused."""

from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest

from phenoscale.errors import UserError
from phenoscale.screens.ingest.config import IngestConfig
from phenoscale.screens.ingest.plates import PixelSettings, ingest_plate, summarize_reasons
from phenoscale.screens.ingest.table import plan_table
from phenoscale.storage import digest_file
from tests.support.plates import make_plate_files

AS_THE_IMAGES = PixelSettings(dtype="", height=None, width=None, intensity_scale=None, pixel_size_um=None)


def _ingest(source, store, *, settings=AS_THE_IMAGES):
    plan = plan_table(IngestConfig(path=str(source)))
    with ThreadPoolExecutor(2) as executor:
        return ingest_plate(
            store, plan, wells=plan.wells.frame, settings=settings, executor=executor, window=4
        )


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


def test_a_committed_plate_is_reused_with_its_quarantine_for_the_same_request_only(source, tmp_path):
    (source / pd.read_csv(source / "fields.csv")["image_DNA"][0]).unlink()
    first = _ingest(source, tmp_path / "store")
    again = _ingest(source, tmp_path / "store")
    assert (first.reused, again.reused) == (False, True)
    assert (again.entry, again.format) == (first.entry, first.format)
    pd.testing.assert_frame_equal(again.quarantined, first.quarantined)
    scaled = PixelSettings(dtype="", height=None, width=None, intensity_scale=4095.0, pixel_size_um=None)
    other = _ingest(source, tmp_path / "store", settings=scaled)
    assert not other.reused
    assert other.format.intensity_scale == 4095.0


def test_the_intensity_scale_is_the_largest_value_of_the_pixel_type_by_default(source, tmp_path):
    assert _ingest(source, tmp_path / "store").format.intensity_scale == 65535.0


def test_a_plate_without_one_usable_image_ends_with_the_reasons(source, tmp_path):
    for path in source.rglob("*.tif"):
        path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match=r"plate E1/P1: none of its \d+ images can be used.*and \d more"):
        _ingest(source, tmp_path / "store")


def test_a_plate_of_another_size_than_the_config_says_ends_with_the_reasons(source, tmp_path):
    settings = PixelSettings(dtype="", height=512, width=512, intensity_scale=None, pixel_size_um=None)
    with pytest.raises(UserError, match="is 24 x 24 uint16, the fields of this plate are 512 x 512 uint16"):
        _ingest(source, tmp_path / "store", settings=settings)


def test_five_reasons_are_shown_and_the_rest_counted():
    assert summarize_reasons(["a"]) == "Reasons: a"
    assert summarize_reasons(list("abcdefgh")) == "Reasons: a; b; c; d; e; and 3 more"
