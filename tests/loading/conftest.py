"""A small screen that loading tests read: 2 experiments x 2 plates, 40 px fields, three channels."""

import pytest

from phenoscale.loading.fields import open_fields
from tests.support.screens import make_tiny_manifest, make_tiny_store


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    return make_tiny_store(tmp_path_factory.mktemp("screen") / "store")


@pytest.fixture(scope="session")
def manifest(tmp_path_factory, store):
    return make_tiny_manifest(tmp_path_factory.mktemp("manifest"), store)


@pytest.fixture(scope="session")
def fields(manifest):
    return open_fields(manifest=manifest)
