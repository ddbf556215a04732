"""The local cache of buckets: paths and addresses name each other."""

import subprocess
import sys

import pytest

from phenoscale.errors import UserError
from phenoscale.storage.mirror import address_of, local_path, make_room, storage_at, use_cached


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


def _keep(folder):
    """What fetching does, without a bucket."""
    use_cached(folder)
    folder.mkdir(parents=True)
    (folder / "a").write_bytes(bytes(1000))
    make_room(folder)


_KEEP = """
import sys
from pathlib import Path
from tests.storage.test_mirror import _keep
for name in sys.argv[1:]:
    _keep(Path(name))
print("kept", flush=True)
sys.stdin.readline()
"""


def test_folders_that_nobody_uses_go_beyond_the_bound_oldest_first_and_used_ones_stay(cache, monkeypatch):
    places = [local_path(f"s3://screens/{name}") for name in ("first", "second", "third", "used")]
    subprocess.run([sys.executable, "-c", _KEEP, *map(str, places[:3])], stdin=subprocess.DEVNULL, check=True)
    monkeypatch.setenv("PHENOSCALE_CACHE_GB", str(3000e-9))
    live = subprocess.Popen(
        [sys.executable, "-c", _KEEP, str(places[3])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with live:
        assert live.stdout.readline() == "kept\n"
        assert [place.is_dir() for place in places] == [False, True, True, True]
        monkeypatch.setenv("PHENOSCALE_CACHE_GB", "0")
        _keep(local_path("s3://screens/last"))
        assert [place.is_dir() for place in places] == [False, False, False, True]
        live.communicate("\n")


def test_a_bound_that_is_no_number_is_refused_with_the_way_out(cache, monkeypatch):
    monkeypatch.setenv("PHENOSCALE_CACHE_GB", "plenty")
    with pytest.raises(UserError, match=r"PHENOSCALE_CACHE_GB is 'plenty'; give a number of gigabytes"):
        _keep(local_path("s3://screens/any"))
