"""Remembered digests of raw inputs are those of their content."""

import os
import shutil
import time

import pytest

from phenoscale.stages.raw_digests import FOLDER, digest_raw
from phenoscale.storage import digest_path

AN_HOUR_AGO = time.time() - 3600


@pytest.fixture
def plates(tmp_path):
    folder = tmp_path / "plates"
    (folder / "Week4").mkdir(parents=True)
    for name in ("fields.csv", "Week4/a.tif", "Week4/b.tif"):
        (folder / name).write_text(name)
        os.utime(folder / name, (AN_HOUR_AGO, AN_HOUR_AGO))
    return folder


def _unreadable(folder):
    """Put bytes of the same size and time into every file: whoever reads them gets another digest."""
    for path in folder.rglob("*"):
        if path.is_file():
            status = path.stat()
            path.write_bytes(b"?" * status.st_size)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_raw_digest_is_the_digest_of_the_content(plates, workspace):
    expected = digest_path(plates)
    for memory in (None, workspace, workspace):
        assert digest_raw(plates, memory=memory) == expected
    assert digest_raw(plates / "fields.csv", memory=workspace) == digest_path(plates / "fields.csv")


def test_files_that_are_remembered_are_not_read_again(plates, workspace):
    expected = digest_raw(plates, memory=workspace)
    single = digest_raw(plates / "fields.csv", memory=workspace)
    _unreadable(plates)
    assert digest_raw(plates, memory=workspace) == expected != digest_path(plates)
    assert digest_raw(plates / "fields.csv", memory=workspace) == single


@pytest.mark.parametrize("change", ["bytes", "added", "removed", "renamed"])
def test_every_change_of_a_folder_is_seen(plates, workspace, change):
    before = digest_raw(plates, memory=workspace)
    if change == "bytes":
        (plates / "Week4" / "a.tif").write_text("Week4/A.tif")
    elif change == "added":
        (plates / "Week4" / "c.tif").write_text("c")
    elif change == "removed":
        (plates / "Week4" / "a.tif").unlink()
    else:
        (plates / "Week4" / "a.tif").rename(plates / "Week4" / "z.tif")
    assert digest_raw(plates, memory=workspace) == digest_path(plates) != before


def test_a_file_that_was_just_written_is_not_remembered(plates, workspace):
    young = plates / "fields.csv"
    young.write_text("one")
    digest_raw(plates, memory=workspace)
    _unreadable(plates)
    (record,) = (workspace / FOLDER).iterdir()
    assert "fields.csv" not in record.read_text() and "a.tif" in record.read_text()


def test_a_broken_memory_is_forgotten(plates, workspace):
    expected = digest_raw(plates, memory=workspace)
    (record,) = (workspace / FOLDER).iterdir()
    for text in ("", "[]", '{"fields.csv": 3, "Week4/a.tif": []}'):
        record.write_text(text)
        assert digest_raw(plates, memory=workspace) == expected


def test_a_look_at_inputs_makes_no_workspace(plates, tmp_path):
    digest_raw(plates, memory=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_the_memory_of_one_folder_is_not_that_of_another(plates, workspace, tmp_path):
    digest_raw(plates, memory=workspace)
    other = shutil.copytree(plates, tmp_path / "other")
    _unreadable(other)
    assert digest_raw(other, memory=workspace) == digest_path(other)
