"""Atomic writes on real file systems."""

import resource
import subprocess
import sys

import pytest

from phenoscale.errors import EXIT_RETRY, RetryError, UserError
from phenoscale.files import create_atomic, is_temporary, write_atomic, written_whole


def test_a_written_file_is_as_readable_as_any_new_file(tmp_path):
    write_atomic(tmp_path / "a", b"x")
    (tmp_path / "b").write_bytes(b"x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_write_leaves_nothing_but_the_file(tmp_path):
    write_atomic(tmp_path / "folder" / "a", b"x")
    write_atomic(tmp_path / "folder" / "a", b"y")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["a"]
    assert (tmp_path / "folder" / "a").read_bytes() == b"y"


def test_a_reader_sees_the_old_file_or_the_new_one_and_never_a_part(tmp_path):
    path = tmp_path / "a"
    write_atomic(path, b"o" * 100_000)
    program = (
        "import sys; from pathlib import Path; from phenoscale.files import write_atomic\n"
        "for n in range(200): write_atomic(Path(sys.argv[1]), bytes([97 + n % 26]) * 100_000)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)]) as writer:
        while writer.poll() is None:
            data = path.read_bytes()
            assert len(data) == 100_000 and len(set(data)) == 1
    assert writer.returncode == 0


_FILL = """
import sys
from pathlib import Path
from phenoscale.errors import RetryError, exit_code_of
from phenoscale.files import write_atomic
try:
    write_atomic(Path(sys.argv[1]), b"x" * 1_000_000)
except RetryError as error:
    print(error)
    sys.exit(exit_code_of(error))
"""


def test_no_room_for_a_file_means_retry_and_leaves_the_old_one(tmp_path):
    path = tmp_path / "a"
    write_atomic(path, b"old")
    done = subprocess.run(
        [sys.executable, "-c", _FILL, str(path)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == EXIT_RETRY, done.stderr
    assert f"no room to write {path}" in done.stdout and "free space" in done.stdout
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_a_file_written_by_a_library_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "folder" / "a"
    with written_whole(path) as temporary:
        temporary.write_bytes(b"half")
        assert not path.exists() and is_temporary(temporary.name) and temporary.parent == path.parent
        temporary.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"
    with pytest.raises(ValueError, match="the body's own"), written_whole(path) as temporary:
        temporary.write_bytes(b"ha")
        raise ValueError("the body's own")
    assert path.read_bytes() == b"whole"
    assert [entry.name for entry in path.parent.iterdir()] == ["a"]


def test_a_full_disk_that_a_library_reports_in_words_means_retry(tmp_path):
    path = tmp_path / "a"
    with pytest.raises(RetryError, match=f"no room to write {path}"), written_whole(path):
        raise ValueError("Error writing: No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_created_once(tmp_path):
    assert create_atomic(tmp_path / "a", b"first")
    assert not create_atomic(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_a_folder_in_place_of_a_file_is_an_error_of_the_user(tmp_path):
    (tmp_path / "a").mkdir()
    for write in (write_atomic, create_atomic):
        with pytest.raises(UserError, match="b/c is no file"):
            (tmp_path / "b").write_bytes(b"")
            write(tmp_path / "b" / "c", b"")
    with pytest.raises(UserError, match="a is no file"):
        write_atomic(tmp_path / "a", b"")
