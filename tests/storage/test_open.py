"""Which store an address means."""

import pytest

from phenoscale.errors import UserError
from phenoscale.storage import LocalStorage, is_remote, open_storage, read_uri


def test_a_path_and_a_file_address_are_local_folders(tmp_path):
    for uri in (str(tmp_path), f"file://{tmp_path}"):
        storage = open_storage(uri)
        assert isinstance(storage, LocalStorage) and storage.uri == str(tmp_path)


def test_only_addresses_with_another_scheme_are_remote():
    assert is_remote("s3://bucket/a")
    assert not is_remote("file:///a") and not is_remote("a/b") and not is_remote("C:/a")


@pytest.mark.parametrize("uri", ["", "gs://bucket/a", "https://example.org/a"])
def test_a_store_of_another_kind_is_refused_with_the_kinds_there_are(uri):
    with pytest.raises(UserError, match=r"give a folder or s3://bucket/prefix"):
        open_storage(uri)


def test_a_local_file_is_read_by_path_and_by_address(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    assert read_uri(str(tmp_path / "a")) == read_uri(f"file://{tmp_path}/a") == b"x"


def test_a_missing_local_file_is_an_error_of_the_user(tmp_path):
    with pytest.raises(UserError, match="is no file"):
        read_uri(str(tmp_path / "none"))
