"""Remember the digests of raw input files in the workspace: terabytes are hashed once, not once a command.

A file of the remembered size and modification time is trusted, as in a finished output.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final

from phenoscale.files import write_atomic
from phenoscale.stages.commit import read_record
from phenoscale.storage import digest_bytes, digest_file
from phenoscale.storage.digests import digest_entries, file_names

FOLDER: Final = "raw-digests"
# A file changed in the tick of the clock in which it was hashed would keep its time: too young to trust.
_MIN_AGE_NS: Final = 2_000_000_000


def digest_raw(path: Path, *, memory: Path | None) -> str:
    """Return the content digest of a raw file or folder, equal to `digest_path`.

    Args:
        path: absolute path of what is there.
        memory: workspace that remembers, None to remember nothing.
    """
    record = None if memory is None else memory / FOLDER / f"{digest_bytes(str(path).encode())[:20]}.json"
    known = {} if record is None else read_record(record)
    names = file_names(path) if path.is_dir() else [""]
    entries: dict[str, list[Any]] = {}
    for name in names:
        entries[name] = _digest(path / name, known=known.get(name))
    if record is not None:
        _remember(record, known=known, entries=entries)
    if path.is_dir():
        return digest_entries({name: entry[2] for name, entry in entries.items()})
    return str(entries[""][2])


def _digest(path: Path, *, known: Any) -> list[Any]:
    status = path.stat()
    if isinstance(known, list) and known[:2] == [status.st_size, status.st_mtime_ns]:
        return known
    return [status.st_size, status.st_mtime_ns, digest_file(path)]


def _remember(record: Path, *, known: dict[str, Any], entries: dict[str, list[Any]]) -> None:
    before = time.time_ns() - _MIN_AGE_NS
    old = {name: entry for name, entry in entries.items() if entry[1] < before}
    # a workspace that is not there yet is for the stage to make, not for a look at its inputs
    if old != known and record.parent.parent.is_dir():
        write_atomic(record, json.dumps(old).encode())
