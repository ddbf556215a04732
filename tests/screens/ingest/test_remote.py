"""Images that lie in an object store, on a real S3 server in this process."""

import pandas as pd
import pytest

from phenoscale.errors import RetryError
from phenoscale.screens.ingest.config import IngestConfig
from phenoscale.screens.ingest.stage import run_ingest
from phenoscale.screens.store import open_screen
from phenoscale.stages import plan_stage
from phenoscale.storage import digest_file, open_storage
from tests.support.plates import make_plate_files, plate_pixels


@pytest.fixture
def prefix(s3_uri, tmp_path):
    """A prefix that holds one plate of PNG files and its table."""
    make_plate_files(tmp_path / "source", plates=[("E1", "P1")], channels=["DNA"], suffix="png")
    storage = open_storage(s3_uri)
    for path in (tmp_path / "source").rglob("*.*"):
        storage.write_bytes(path.relative_to(tmp_path / "source").as_posix(), path.read_bytes())
    return s3_uri


def _config(prefix, workspace, **changes):
    return IngestConfig(path=prefix, runtime={"workspace": str(workspace)}, **changes)


def test_a_screen_in_a_bucket_becomes_the_same_store_as_on_disk(prefix, workspace, tmp_path):
    remote = run_ingest(_config(prefix, workspace))
    local = run_ingest(_config(str(tmp_path / "source"), workspace))
    assert open_screen(remote.path).digest == open_screen(local.path).digest
    store = open_screen(remote.path)
    well = store.wells.iloc[3]
    assert (store.read(well["plate_index"], well["field_index"])[0] == plate_pixels(well["image"][0])).all()
    sources = pd.read_parquet(remote.path / store.header.plates[0].folder / "sources.parquet")
    assert sources["digest"].tolist() == [
        digest_file(tmp_path / "source" / name) for name in sources["file"].tolist()
    ]
    assert remote.digest == local.digest


def test_a_changed_object_changes_the_key_and_an_unchanged_bucket_does_not(prefix, workspace):
    first = plan_stage(run_ingest, _config(prefix, workspace))
    assert plan_stage(run_ingest, _config(prefix, workspace)).key == first.key
    storage = open_storage(prefix)
    name = next(info.key for info in storage.list("images"))
    storage.write_bytes(name, storage.read_bytes(name) + b"\x00")
    assert plan_stage(run_ingest, _config(prefix, workspace)).key != first.key


def test_an_object_that_is_missing_is_quarantined_by_its_name(prefix, workspace):
    storage = open_storage(prefix)
    name = next(info.key for info in storage.list("images"))
    storage.delete(name)
    result = run_ingest(_config(prefix, workspace, max_quarantined_fraction=0.5))
    quarantine = pd.read_parquet(result.path / "quarantine.parquet")
    assert len(quarantine) == 1
    assert name in quarantine["reason"][0]


def test_a_store_that_is_away_is_a_retry_and_not_a_screen_full_of_bad_images(prefix, workspace, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(RetryError):
        run_ingest(_config(prefix, workspace))
