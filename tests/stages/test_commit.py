"""The commit record: what counts as a complete output."""

import json
import os

import pytest

from phenoscale.errors import RetryError, UserError
from phenoscale.stages.commit import (
    changed_file,
    check_complete,
    commit,
    output_digest,
    read_success,
    record_output,
)
from phenoscale.stages.output import Output
from phenoscale.stages.records import SUCCESS
from phenoscale.storage import digest_file
from phenoscale.storage.digests import digest_entries


@pytest.fixture
def output(tmp_path):
    folder = tmp_path / "embed" / "abc"
    (folder / "wells").mkdir(parents=True)
    (folder / "wells" / "a.parquet").write_bytes(b"aaaa")
    (folder / "header.json").write_bytes(b"{}")
    return folder


def _commit(folder, key="k"):
    return commit(Output(folder), key=key, lineage=lambda success: b"{}")


def test_a_committed_output_is_complete_and_its_digest_is_that_of_its_files(output):
    names = ("header.json", "wells/a.parquet")
    expected = digest_entries({name: digest_file(output / name) for name in names})
    success = _commit(output)
    assert check_complete(output) == success == read_success(output)
    assert output_digest(output) == expected
    assert success.files["wells/a.parquet"].sha256 == digest_file(output / "wells" / "a.parquet")


def test_records_logs_and_left_over_temporary_files_are_no_part_of_an_output(output):
    before = record_output(output, key="k").digest
    for name in (
        "lineage.json",
        "_SUCCESS.json",
        "logs/worker-1.txt",
        "worker.log",
        ".write-1",
    ):
        (output / name).parent.mkdir(exist_ok=True)
        (output / name).write_text(name)
    after = record_output(output, key="k")
    assert list(after.files) == ["header.json", "wells/a.parquet"]
    assert after.digest == before
    assert not (output / ".write-1").exists()


def test_a_part_of_an_output_has_the_digest_of_its_content(output):
    success = _commit(output)
    assert success.digest_below("wells") == digest_entries(
        {"a.parquet": digest_file(output / "wells" / "a.parquet")}
    )
    assert success.digest_below("header.json") == digest_file(output / "header.json")
    assert success.digest_below("well") is None


def test_an_output_that_was_touched_but_not_changed_is_still_complete(output):
    _commit(output)
    os.utime(output / "header.json", (1, 1))
    check_complete(output)


@pytest.mark.parametrize("change", ["other bytes", "more bytes", "removed", "folder in its place"])
def test_an_output_that_was_changed_is_refused_with_the_file_and_the_way_out(output, change):
    success = _commit(output)
    path = output / "wells" / "a.parquet"
    path.unlink()
    if change == "other bytes":
        path.write_bytes(b"aaab")
    elif change == "more bytes":
        path.write_bytes(b"aaaaa")
    elif change == "folder in its place":
        path.mkdir()
    assert changed_file(output, success) == "wells/a.parquet"
    with pytest.raises(UserError, match=r"wells/a\.parquet is not what its stage wrote.*; run embed again"):
        check_complete(output)


def test_an_output_without_commit_record_is_refused_with_the_way_out(output):
    with pytest.raises(UserError, match=r"abc is incomplete: its stage did not finish.*; run embed again"):
        output_digest(output)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"key": "k"}', '{"key": "k", "digest": "d", "files": {"a": 3}}']
)
def test_a_broken_commit_record_counts_as_none(output, text):
    (output / SUCCESS).write_text(text)
    assert read_success(output) is None


def test_the_commit_record_is_the_public_one(output):
    _commit(output, key="the key")
    record = json.loads((output / SUCCESS).read_text())
    assert set(record) == {"format_version", "key", "digest", "files", "elsewhere"}
    assert set(record["files"]["header.json"]) == {"size", "etag", "sha256"}


def test_a_record_of_another_version_is_refused_by_name(output, caplog):
    _commit(output)
    text = (output / SUCCESS).read_text()
    (output / SUCCESS).write_text(text.replace('"format_version": 2', '"format_version": 7'))
    assert read_success(output) is None
    assert "format version 7; this is version 2" in caplog.text


def test_a_published_part_that_is_written_to_again_is_not_committed(output):
    Output(output).publish("wells", ["wells"])
    (output / "wells" / "a.parquet").write_bytes(b"bbbb")
    with pytest.raises(RetryError, match=r"wells/a\.parquet was changed while its stage was running"):
        _commit(output)
    assert read_success(output) is None
