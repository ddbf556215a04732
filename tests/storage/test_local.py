"""A local folder as a store of bytes, on real file systems."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from phenoscale.errors import UserError
from phenoscale.files import write_atomic
from phenoscale.storage import LocalStorage


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
