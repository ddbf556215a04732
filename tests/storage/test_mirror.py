"""The local cache of buckets: paths and addresses name each other."""

import pytest

from phenoscale.storage.mirror import address_of, local_path, storage_at


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PHENOSCALE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_path_in_the_cache_and_an_address_name_each_other(cache):
    path = local_path("s3://screens/prefix/embed/k1/")
    assert path.is_relative_to(cache)
    assert path.parts[-4:] == ("screens", "prefix", "embed", "k1")
    assert address_of(path) == "s3://screens/prefix/embed/k1"
    assert address_of(path / "a.parquet") == "s3://screens/prefix/embed/k1/a.parquet"


def test_any_other_path_has_no_address(tmp_path, cache):
    assert address_of(tmp_path / "data") is None
    assert address_of(cache) is None


def test_buckets_of_equal_names_on_two_servers_are_kept_apart(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://one:9000")
    first = local_path("s3://screens/a")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://two:9000")
    assert local_path("s3://screens/a") != first
    assert address_of(first) is None


def test_a_folder_of_the_cache_is_opened_in_its_bucket_and_any_other_where_it_lies(s3_uri, tmp_path):
    storage_at(local_path(f"{s3_uri}/k1")).write_bytes("a", b"x")
    assert storage_at(local_path(s3_uri)).read_bytes("k1/a") == b"x"
    storage_at(tmp_path / "here").write_bytes("a", b"y")
    assert (tmp_path / "here" / "a").read_bytes() == b"y"
