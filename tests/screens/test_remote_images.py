"""Images in a bucket: tensorstore reads them in place from a real S3 server in this process."""

import pytest

from phenoscale.screens.layout import (
    IMAGES_FOLDER,
    PlateShape,
    array_path,
    array_spec,
    open_array,
    open_images,
)
from phenoscale.screens.store import open_screen
from phenoscale.storage import open_storage
from tests.support.s3 import BUCKET, CREDENTIALS, s3_server
from tests.support.screens import make_tiny_store


@pytest.fixture(scope="module")
def endpoint():
    with s3_server() as address:
        yield address


def test_fields_in_a_bucket_are_those_on_disk(endpoint, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    store = open_screen(make_tiny_store(tmp_path, num_experiments=1, num_plates=1, size=300))
    entry = store.header.plates[0]
    images = tmp_path / entry.folder / IMAGES_FOLDER
    uri = f"s3://{BUCKET}/some/{IMAGES_FOLDER}"
    storage = open_storage(uri)
    for path in images.rglob("*.*"):
        storage.write_bytes(path.relative_to(images).as_posix(), path.read_bytes())
    shape = PlateShape("fields", entry.num_fields, 3, 300, 300, "uint16")
    for index, well in enumerate(store.wells.itertuples()):
        array = open_array(array_spec(shape), open_images(uri), path=array_path(well.well, well.site))
        assert (array.read().result() == store.read(0, index)).all()
