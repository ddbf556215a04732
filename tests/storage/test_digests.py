"""Content digests against the system's own sha256sum, and what they depend on."""

import hashlib
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenoscale.errors import UserError
from phenoscale.storage import digest_bytes, digest_file, digest_path, digest_uri
from phenoscale.storage.digests import digest_entries, file_names


def test_the_digest_of_a_file_is_its_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"pixels" * 100_000)
    said = subprocess.run(["sha256sum", tmp_path / "a"], capture_output=True, text=True, check=True).stdout
    assert digest_file(tmp_path / "a") == said.split()[0] == digest_bytes(b"pixels" * 100_000)
    assert digest_path(tmp_path / "a") == said.split()[0]


def _tree(folder, files):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


FILES = {"a": b"1", "b/c": b"2", "b/d/e": b""}


def test_the_digest_of_a_folder_depends_on_names_and_bytes_only(tmp_path):
    first = _tree(tmp_path / "first", FILES)
    second = _tree(tmp_path / "elsewhere" / "second", dict(reversed(FILES.items())))
    assert digest_path(first) == digest_path(second) == digest_uri(str(second))


@pytest.mark.parametrize(
    "other",
    [
        {**FILES, "a": b"2"},
        {**FILES, "new": b""},
        {"a": b"1", "b/c": b"2"},
        {"a": b"1", "bc": b"2", "b/d/e": b""},
        {"a": b"2", "b/c": b"1", "b/d/e": b""},
    ],
)
def test_any_other_name_or_byte_gives_another_digest(tmp_path, other):
    assert digest_path(_tree(tmp_path / "a", FILES)) != digest_path(_tree(tmp_path / "b", other))


def test_nothing_at_a_path_is_an_error_of_the_user(tmp_path):
    with pytest.raises(UserError, match="none does not exist; check the path"):
        digest_path(tmp_path / "none")


names = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=6)
entries = st.dictionaries(names, st.binary().map(lambda data: hashlib.sha256(data).hexdigest()), max_size=5)


@given(entries, entries)
def test_two_sets_of_entries_have_one_digest_only_when_they_are_equal(one, other):
    assert (digest_entries(one) == digest_entries(other)) == (one == other)


def test_files_are_named_relative_to_their_folder_and_sorted(tmp_path):
    assert file_names(_tree(tmp_path, FILES)) == ["a", "b/c", "b/d/e"]
