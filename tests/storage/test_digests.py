"""Content digests against the system's own sha256sum, and what they depend on."""

import hashlib
import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenoscale.storage import digest_bytes, digest_file, digest_listing
from phenoscale.storage.digests import digest_entries, file_names


def test_the_digest_of_a_file_is_its_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"pixels" * 100_000)
    said = subprocess.run(["sha256sum", tmp_path / "a"], capture_output=True, text=True, check=True).stdout
    assert digest_file(tmp_path / "a") == said.split()[0] == digest_bytes(b"pixels" * 100_000)


def _tree(folder, files):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


FILES = {"a": b"1", "b/c": b"2", "b/d/e": b""}


def _listing(folder, files):
    for number, path in enumerate(sorted(_tree(folder, files).rglob("*"))):
        os.utime(path, ns=(0, number if path.is_file() else 0))
    return digest_listing(str(folder))


def test_the_digest_of_a_listing_depends_on_names_sizes_and_times_only(tmp_path):
    same_sizes = {name: data[::-1] for name, data in FILES.items()}
    first = _listing(tmp_path / "first", FILES)
    assert _listing(tmp_path / "elsewhere" / "second", dict(reversed(same_sizes.items()))) == first
    os.utime(tmp_path / "first" / "a", ns=(0, 77))
    assert digest_listing(str(tmp_path / "first")) != first


@pytest.mark.parametrize(
    "other",
    [
        {**FILES, "a": b"22"},
        {**FILES, "new": b""},
        {"a": b"1", "b/c": b"2"},
        {"a": b"1", "bc": b"2", "b/d/e": b""},
    ],
)
def test_any_other_name_or_size_gives_another_digest(tmp_path, other):
    assert _listing(tmp_path / "a", FILES) != _listing(tmp_path / "b", other)


names = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=6)
entries = st.dictionaries(names, st.binary().map(lambda data: hashlib.sha256(data).hexdigest()), max_size=5)


@given(entries, entries)
def test_two_sets_of_entries_have_one_digest_only_when_they_are_equal(one, other):
    assert (digest_entries(one) == digest_entries(other)) == (one == other)


def test_files_are_named_relative_to_their_folder_and_sorted(tmp_path):
    assert file_names(_tree(tmp_path, FILES)) == ["a", "b/c", "b/d/e"]
