"""The contract of a store of bytes, kept by the local folder and by S3 alike."""

import concurrent.futures

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phenoscale.errors import UserError
from phenoscale.storage import ObjectInfo, digest_bytes, open_storage
from phenoscale.storage.interface import check_key


@pytest.fixture(params=["local folder", "s3"])
def storage(request, tmp_path):
    if request.param == "local folder":
        return open_storage(str(tmp_path / "store"))
    return open_storage(request.getfixturevalue("s3_uri"))


def test_what_was_written_is_read(storage):
    storage.write_bytes("plates/Week4/0", b"\x00\xffpixels")
    assert storage.read_bytes("plates/Week4/0") == b"\x00\xffpixels"


def test_an_object_may_be_empty_and_may_be_replaced(storage):
    storage.write_bytes("a", b"")
    assert storage.read_bytes("a") == b""
    storage.write_bytes("a", b"second")
    assert storage.read_bytes("a") == b"second"


def test_a_range_is_a_part_of_the_object_and_ends_where_it_ends(storage):
    storage.write_bytes("a", bytes(range(100)))
    assert storage.read_range("a", start=10, length=5) == bytes(range(10, 15))
    assert storage.read_range("a", start=95, length=50) == bytes(range(95, 100))
    assert storage.read_range("a", start=100, length=1) == b""
    assert storage.read_range("a", start=3, length=0) == b""


def test_only_what_was_written_exists(storage):
    storage.write_bytes("plates/a", b"x")
    assert storage.exists("plates/a")
    assert not storage.exists("plates/b")
    assert not storage.exists("plates")


def test_a_missing_object_is_an_error_of_the_user_with_its_address(storage):
    for read in (storage.read_bytes, lambda key: storage.read_range(key, start=0, length=4)):
        with pytest.raises(UserError, match="plates/none") as caught:
            read("plates/none")
        assert storage.uri in str(caught.value)


def test_an_object_is_created_once(storage):
    assert storage.create_bytes("claims/3", b"first")
    assert not storage.create_bytes("claims/3", b"second")
    assert storage.read_bytes("claims/3") == b"first"


def test_of_many_that_create_an_object_at_once_exactly_one_does(storage):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: storage.create_bytes("claim", b"%d" % n), range(16)))
    assert sum(won) == 1
    assert storage.read_bytes("claim") == b"%d" % won.index(True)


def test_objects_are_listed_by_key_below_a_prefix_of_text(storage):
    for key in ("b/2", "a/1", "b/10", "bc/3", "b/d/e"):
        storage.write_bytes(key, key.encode())
    assert [info.key for info in storage.list()] == ["a/1", "b/10", "b/2", "b/d/e", "bc/3"]
    assert [info.key for info in storage.list("b/")] == ["b/10", "b/2", "b/d/e"]
    assert [info.key for info in storage.list("b")] == ["b/10", "b/2", "b/d/e", "bc/3"]
    assert [info.size for info in storage.list("b/1")] == [4]
    assert list(storage.list("nothing")) == []


def test_the_etag_of_an_object_changes_with_its_bytes_only_or_its_writing(storage):
    storage.write_bytes("a", b"one")
    (before,) = storage.list("a")
    assert list(storage.list("a")) == [before]
    storage.write_bytes("a", b"other")
    (after,) = storage.list("a")
    assert isinstance(after, ObjectInfo) and after.etag != before.etag


def test_a_removed_object_is_gone_and_may_be_removed_again(storage):
    storage.write_bytes("a/b", b"x")
    storage.delete("a/b")
    storage.delete("a/b")
    assert not storage.exists("a/b")
    assert list(storage.list()) == []


def test_more_objects_than_one_page_of_the_server_are_all_listed(storage):
    keys = [f"field/{number:04d}" for number in range(1100)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: storage.write_bytes(key, b""), keys))
    assert [info.key for info in storage.list("field/")] == keys


@pytest.mark.parametrize("key", ["", "/etc/passwd", "a/../../b", "a//b", "./a", "a/", "a\\b", "a\x00b"])
def test_a_key_that_leads_elsewhere_is_refused(storage, key):
    for use in (storage.read_bytes, storage.exists, storage.delete, lambda k: storage.write_bytes(k, b"")):
        with pytest.raises(UserError, match="is not a relative path of plain names"):
            use(key)


parts = st.text(st.characters(exclude_characters="/\\\x00", exclude_categories=["Cs", "Cc"]), min_size=1)
keys = st.lists(parts.filter(lambda part: part not in (".", "..")), min_size=1, max_size=4).map("/".join)


@given(keys)
def test_every_relative_path_of_plain_names_is_a_key(key):
    assert check_key(key) == key


short = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)
two_parts = st.lists(short, min_size=2, max_size=2).map("/d".join)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.lists(short, min_size=2, max_size=2).map("/d".join), st.binary(max_size=64), max_size=4
    )
)
def test_any_set_of_objects_is_kept_as_written(storage, objects):
    for info in list(storage.list()):
        storage.delete(info.key)
    for key, data in objects.items():
        storage.write_bytes(key, data)
    assert {info.key: storage.read_bytes(info.key) for info in storage.list()} == objects


# files, folders, and the store's own clock ------------------------------------------------------------------


def _file(folder, data=b"pixels"):
    path = folder / "scratch" / "a.bin"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def test_a_file_becomes_an_object_and_an_object_a_file(storage, tmp_path):
    path = _file(tmp_path)
    put = storage.put_file("plates/a", path, sha256=digest_bytes(b"pixels"))
    assert storage.read_bytes("plates/a") == b"pixels"
    assert list(storage.list("plates/")) == [put] == [storage.info("plates/a")]
    storage.get_file("plates/a", tmp_path / "deep" / "b.bin")
    assert (tmp_path / "deep" / "b.bin").read_bytes() == b"pixels"


def test_a_file_replaces_an_object_and_may_be_put_twice(storage, tmp_path):
    storage.write_bytes("a", b"before")
    for _ in range(2):
        storage.put_file("a", _file(tmp_path), sha256=digest_bytes(b"pixels"))
    assert storage.read_bytes("a") == b"pixels"


def test_a_missing_object_has_no_info_and_no_age_and_makes_no_file(storage, tmp_path):
    assert storage.info("none") is None and storage.age_seconds("none") is None
    with pytest.raises(UserError, match="none"):
        storage.get_file("none", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_an_object_that_was_just_written_is_young_by_the_stores_own_clock(storage):
    storage.write_bytes("lease/1", b"")
    assert -1.5 <= storage.age_seconds("lease/1") < 60


def test_folders_are_named_without_what_lies_in_them(storage):
    for key in ("embed/k1/a", "embed/k2/b/c", "embed/note", "map/k3/a"):
        storage.write_bytes(key, b"")
    assert list(storage.folders()) == ["embed", "map"]
    assert list(storage.folders("embed")) == ["k1", "k2"]
    assert list(storage.folders("none")) == []


def test_a_store_below_a_prefix_is_a_store(storage):
    below = storage.at("embed/k1")
    below.write_bytes("a", b"x")
    assert storage.read_bytes("embed/k1/a") == b"x"
    assert below.uri == f"{storage.uri}/embed/k1"
