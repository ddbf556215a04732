"""A path at which nothing can be written is refused in one line; to ask leaves nothing behind."""

import pytest

from phenoscale.errors import UserError
from phenoscale.storage import check_output_file, check_output_folder


@pytest.fixture
def place(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.csv").write_text("here before")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "else")
    return tmp_path


def _refusal(check, path, **given):
    with pytest.raises(UserError) as caught:
        check(str(path), **given)
    assert str(caught.value).startswith(f"--output {path} ") and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("check", "path", "reason"),
    [
        (check_output_file, "folder", "is a folder, but a file is written there"),
        (check_output_file, "file.csv/rows.parquet", "Not a directory"),
        (check_output_file, "file.csv/deep/rows.parquet", "Not a directory"),
        (check_output_file, "x" * 300, "File name too long"),
        (check_output_folder, "file.csv", "is no folder"),
        (check_output_folder, "file.csv/rows", "Not a directory"),
        (check_output_folder, "dangling", "is no folder"),
        (check_output_folder, "x" * 300, "File name too long"),
    ],
)
def test_nothing_is_written_over_what_is_of_another_kind_or_below_a_file(place, check, path, reason):
    assert reason in _refusal(check, place / path)


def test_what_the_system_does_not_let_us_write_is_refused(place):
    for check in (check_output_file, check_output_folder):
        assert "cannot be written" in _refusal(check, "/proc/rows/rows")
    assert "no regular file" in _refusal(check_output_file, "/dev/null")
    assert "no local path" in _refusal(check_output_folder, "s3://bucket/rows")


def test_an_input_is_not_overwritten_whatever_its_path_is_spelled_like(place):
    (place / "link.csv").symlink_to(place / "file.csv")
    for path in ("file.csv", "folder/../file.csv", "link.csv"):
        assert "is an input" in _refusal(
            check_output_file, place / path, inputs=["", str(place / "file.csv")]
        )
    check_output_file(str(place / "file.csv"), inputs=["", str(place / "other.csv")])


def test_a_path_that_can_be_written_is_accepted_and_nothing_is_made(place):
    before = sorted(place.rglob("*"))
    for path in ("file.csv", "new.csv", "new/deep/new.csv", "folder/new.csv"):
        check_output_file(str(place / path))
    for path in ("folder", "new", "new/deep"):
        check_output_folder(str(place / path))
    check_output_file("")
    check_output_folder("")
    assert sorted(place.rglob("*")) == before
    assert (place / "file.csv").read_text() == "here before"
