"""The commit record of a stage output, `_SUCCESS.json`: written last, checked before anything is read."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Final

from phenoscale.errors import UserError
from phenoscale.files import is_temporary, write_atomic
from phenoscale.logs import get_logger
from phenoscale.stages.output import PARTS_FOLDER
from phenoscale.storage.digests import digest_entries, digest_file, file_names

SUCCESS: Final = "_SUCCESS.json"
LINEAGE: Final = "lineage.json"
STARTED: Final = "_STARTED.json"
_NOT_OUTPUT: Final = frozenset({SUCCESS, LINEAGE, STARTED})
# times and random ids, in which equal computations differ; checkpoints have checksums of their own
_NOT_OUTPUT_FOLDERS: Final = frozenset({"logs", "checkpoints", PARTS_FOLDER})

logger = get_logger(__name__)


@dataclasses.dataclass(frozen=True)
class FileRecord:
    """One output file as it was when the stage finished."""

    size: int
    mtime_ns: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Success:
    """The content of `_SUCCESS.json`: the stage's key, the output's digest and its files."""

    key: str
    digest: str
    files: dict[str, FileRecord]

    def digest_below(self, name: str) -> str | None:
        """Return the digest of one file or subfolder of the output, None when it holds no such thing."""
        if name in self.files:
            return self.files[name].sha256
        prefix = f"{name}/"
        below = {
            file.removeprefix(prefix): record.sha256
            for file, record in self.files.items()
            if file.startswith(prefix)
        }
        return digest_entries(below) if below else None


def output_files(folder: Path) -> list[str]:
    """Return the names of the files that make up an output: not records, logs, checkpoints."""
    return [name for name in file_names(folder) if _is_output(name)]


def record_output(folder: Path, *, key: str) -> Success:
    """Hash an output's files and return the record to be written."""
    for name in file_names(folder):
        if is_temporary(name):
            (folder / name).unlink()
    files = {}
    for name in output_files(folder):
        path = folder / name
        sha256 = digest_file(path)
        status = path.stat()
        files[name] = FileRecord(size=status.st_size, mtime_ns=status.st_mtime_ns, sha256=sha256)
    digest = digest_entries({name: record.sha256 for name, record in files.items()})
    return Success(key=key, digest=digest, files=files)


def write_success(folder: Path, success: Success) -> None:
    """Commit an output: after this, and not before, other stages accept it."""
    text = json.dumps(dataclasses.asdict(success), indent=1)
    write_atomic(folder / SUCCESS, text.encode())
    (folder / STARTED).unlink(missing_ok=True)


def read_success(folder: Path) -> Success | None:
    """Return an output's commit record, None when there is no readable one."""
    try:
        data = json.loads((folder / SUCCESS).read_bytes())
        files = {name: FileRecord(**record) for name, record in data["files"].items()}
        return Success(key=str(data["key"]), digest=str(data["digest"]), files=files)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        logger.warning("%s cannot be read (%s); its stage counts as unfinished", folder / SUCCESS, error)
        return None


def changed_file(folder: Path, success: Success) -> str | None:
    """Return the first file that is not what the record says, None when all are.

    A file of the recorded size and time is trusted; one of another time is hashed again.
    """
    for name, record in success.files.items():
        path = folder / name
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return name
        if status.st_size != record.size:
            return name
        if status.st_mtime_ns != record.mtime_ns and digest_file(path) != record.sha256:
            return name
    return None


def check_complete(path: Path) -> Success:
    """Return the commit record of a stage's output folder.

    Raises:
        UserError: when the stage did not finish, or the output was changed since.
    """
    success = read_success(path)
    if success is None:
        raise UserError(
            f"{path} is incomplete: its stage did not finish ({SUCCESS} is missing); {way_out(path)}"
        )
    changed = changed_file(path, success)
    if changed is not None:
        raise UserError(
            f"{path / changed} is not what its stage wrote: it was changed or removed since; {way_out(path)}"
        )
    return success


def output_digest(path: Path) -> str:
    """Return the digest of a complete stage output."""
    return check_complete(path).digest


def read_record(path: Path) -> dict[str, Any]:
    """Return a JSON record beside or in an output, an empty one when it is missing or broken."""
    try:
        data = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def way_out(path: Path) -> str:
    """Say which stage writes a folder again."""
    stage = read_record(path / STARTED).get("stage") or read_record(path / LINEAGE).get("stage")
    return f"run {stage or path.parent.name} again"


def _is_output(name: str) -> bool:
    first, _, _ = name.partition("/")
    is_aside = name in _NOT_OUTPUT or first in _NOT_OUTPUT_FOLDERS or name.endswith(".log")
    return not is_aside and not is_temporary(name)
