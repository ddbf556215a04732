"""Stores in a bucket: tables are fetched, pixels are read in place from a real S3 server in this process."""

import shutil

import pandas as pd
import pytest
import tensorstore as ts

from phenoscale.curation.config import CurateConfig
from phenoscale.curation.stage import run_curate
from phenoscale.loading.fields import open_fields
from phenoscale.schema.manifest import read_manifest
from phenoscale.screens.ingest.config import IngestConfig
from phenoscale.screens.ingest.stage import run_ingest
from phenoscale.screens.layout import is_away
from phenoscale.screens.store import open_screen
from phenoscale.storage.mirror import address_of
from tests.support.plates import make_plate_files
from tests.support.s3 import BUCKET


@pytest.fixture
def source(tmp_path):
    make_plate_files(tmp_path / "source")
    return tmp_path / "source"


def _ingest(source, workspace):
    return run_ingest(IngestConfig(path=str(source), runtime={"workspace": str(workspace)}))


def test_a_store_in_a_bucket_is_the_store_on_disk_and_its_pixels_stay_there(s3_uri, source, tmp_path):
    local, remote = _ingest(source, tmp_path / "local"), _ingest(source, s3_uri)
    assert remote.digest == local.digest
    address = address_of(remote.path)
    store, expected = open_screen(address), open_screen(local.path)
    assert store.digest == expected.digest
    for well in expected.wells.itertuples():
        place = (well.plate_index, well.field_index)
        assert (store.read(*place) == expected.read(*place)).all()
        crop = store.crop(*place, top=3, left=5, size=7).result()
        assert (crop == expected.read(*place)[:, 3:10, 5:12]).all()
    assert not list(store.folder.rglob("c.0.0.0"))


def test_a_plate_that_was_taken_over_is_read_where_it_lies(s3_uri, source, tmp_path):
    first = _ingest(source, s3_uri)
    table = pd.read_csv(source / "fields.csv")
    table[table["plate"] == "P2"].to_csv(source / "fields.csv", index=False)
    second = _ingest(source, s3_uri)
    assert second.summary["num_plates_read"] == 0
    assert (open_screen(second.path).read(0, 4) == open_screen(first.path).read(1, 4)).all()
    shutil.rmtree(second.path)
    config = CurateConfig(
        stores=[address_of(second.path)], validation_fraction=0.0, runtime={"workspace": str(tmp_path)}
    )
    fields = open_fields(manifest=run_curate(config).path)
    assert (fields.start_field(4).result() == open_screen(first.path).read(1, 4)).all()
    assert len(read_manifest(run_curate(config).path)) == 7


def test_a_store_of_objects_that_does_not_answer_is_away_and_a_damaged_one_is_not():
    spec = {
        "driver": "s3",
        "bucket": BUCKET,
        "path": "a",
        "endpoint": "http://127.0.0.1:9",
        "aws_region": "us-east-1",
        "context": {"s3_request_retries": {"max_retries": 0}},
    }
    with pytest.raises(ValueError) as refused:
        ts.KvStore.open(spec).result().read("b").result()
    assert is_away(refused.value)
    assert not is_away(ValueError("FAILED_PRECONDITION: error decoding a chunk"))
