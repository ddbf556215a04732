"""Atomic writes on real file systems."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from phenoscale.errors import EXIT_RETRY, UserError
from phenoscale.storage import LocalStorage, write_atomic


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
        "import sys; from pathlib import Path; from phenoscale.storage import write_atomic\n"
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
from phenoscale.storage import write_atomic
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


def test_a_folder_in_place_of_a_file_is_an_error_of_the_user(tmp_path):
    (tmp_path / "a").mkdir()
    storage = LocalStorage(tmp_path)
    for use in (storage.read_bytes, lambda key: storage.write_bytes(key, b"")):
        with pytest.raises(UserError, match="a is no file"):
            use("a")
    (tmp_path / "b").write_bytes(b"")
    with pytest.raises(UserError, match="is no file"):
        storage.write_bytes("b/c", b"")


_READ = """
import os, sys
from pathlib import Path
from phenoscale.errors import UserError
from phenoscale.storage import LocalStorage
if os.geteuid() == 0:
    os.setgid(65534); os.setuid(65534)
try:
    LocalStorage(Path(sys.argv[1])).read_bytes("secret")
except UserError as error:
    print(error)
"""


def test_a_file_of_somebody_else_is_an_error_of_the_user(tmp_path_factory):
    folder = tmp_path_factory.mktemp("open")
    for parent in (folder, *folder.parents[:2]):
        if parent.owner() == Path.home().owner() or os.geteuid() == 0:
            parent.chmod(parent.stat().st_mode | 0o111)
    (folder / "secret").write_bytes(b"x")
    (folder / "secret").chmod(0)
    done = subprocess.run(
        [sys.executable, "-c", _READ, str(folder)], capture_output=True, text=True, check=False
    )
    assert "access denied" in done.stdout and "give this user access" in done.stdout, done.stderr


def test_half_written_files_of_a_killed_writer_are_not_listed(tmp_path):
    (tmp_path / ".write-123-abc").write_bytes(b"half")
    write_atomic(tmp_path / "a", b"whole")
    assert [info.key for info in LocalStorage(tmp_path).list()] == ["a"]
