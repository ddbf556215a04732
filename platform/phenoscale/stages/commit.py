"""Commit an output: its files, `lineage.json`, and last `_SUCCESS.json`; and check one before it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from phenoscale.errors import RetryError, UserError
from phenoscale.files import is_temporary
from phenoscale.logs import get_logger
from phenoscale.stages.output import Output
from phenoscale.stages.records import (
    LINEAGE,
    PARTS_FOLDER,
    SUCCESS,
    FileRecord,
    Success,
    changed_name,
    read_json,
    split_by_output,
)
from phenoscale.storage import Storage, digest_file
from phenoscale.storage.digests import file_names
from phenoscale.storage.mirror import storage_at

_NOT_OUTPUT: Final = frozenset({SUCCESS, LINEAGE})
# times and random ids, in which equal computations differ; checkpoints have checksums of their own
_NOT_OUTPUT_FOLDERS: Final = frozenset({"logs", "checkpoints", PARTS_FOLDER})

logger = get_logger(__name__)


def commit(output: Output, *, key: str, lineage: Callable[[Success], bytes]) -> Success:
    """Publish what a stage has built: after this, and not before, other stages accept it.

    Args:
        output: whose folder holds everything that was not published as a part.
        key: of the stage.
        lineage: gives the text of `lineage.json`.

    Raises:
        RetryError: another runner has taken over, the store is away, or a published file is not what it was.
    """
    storage = output.storage
    files: dict[str, FileRecord] = {}
    elsewhere: dict[str, str] = {}
    for part in output.parts():
        files.update(part.files)
        elsewhere.update(dict.fromkeys(part.names, part.elsewhere) if part.elsewhere else {})
    _remove_unfinished(output.folder)
    rest = [name for name in file_names(output.folder) if name not in files and name not in _NOT_OUTPUT]
    rest = [name for name in rest if not name.startswith(f"{PARTS_FOLDER}/")]
    files.update(output.put(rest))
    own = {name: record for name, record in files.items() if _without(name, elsewhere)}
    _remove_strays(storage, known=own)
    changed = changed_name(storage, own)
    if changed is not None:
        raise RetryError(f"{storage.uri}/{changed} was changed while its stage was running; run it again")
    counted = {name: record for name, record in files.items() if _is_output(name)}
    success = Success.of(counted, key=key, elsewhere=elsewhere, dated=output.dated)
    storage.write_bytes(LINEAGE, lineage(success))
    output.check()
    if not storage.create_bytes(SUCCESS, success.as_bytes()):
        # a fenced runner came in between its own look and ours; what lies there now are our files
        storage.delete(SUCCESS)
        storage.create_bytes(SUCCESS, success.as_bytes())
    return success


def record_output(folder: Path, *, key: str) -> Success:
    """Return the record of a folder's files, as if it were an output."""
    _remove_unfinished(folder)
    storage = storage_at(folder)
    names = [name for name in file_names(folder) if _is_output(name)]
    infos = storage.find(names)
    files = {
        name: FileRecord(infos[name].size, etag=infos[name].etag, sha256=digest_file(folder / name))
        for name in names
    }
    return Success.of(files, key=key, elsewhere={})


def read_success(folder: Path) -> Success | None:
    """Return an output's commit record, None when there is no readable one."""
    storage = storage_at(folder)
    try:
        data = storage.read_bytes(SUCCESS)
    except UserError:
        return None
    try:
        return Success.parse(data)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        logger.warning("%s cannot be read (%s); its stage counts as unfinished", folder / SUCCESS, error)
        return None


def changed_file(folder: Path, success: Success) -> str | None:
    """Return the first file that is not what the record says, None when all are; see `changed_name`."""
    for other, names in split_by_output(success.files, success).items():
        storage = storage_at(folder.parent.parent).at(other) if other else storage_at(folder)
        changed = changed_name(storage, {name: success.files[name] for name in names})
        if changed is not None:
            return changed
    return None


def check_complete(folder: Path) -> Success:
    """Return the commit record of a stage's output folder.

    Raises:
        UserError: when the stage did not finish, or the output was changed since.
    """
    success = read_success(folder)
    if success is None:
        raise UserError(
            f"{folder} is incomplete: its stage did not finish ({SUCCESS} is missing); {way_out(folder)}"
        )
    changed = changed_file(folder, success)
    if changed is not None:
        raise UserError(
            f"{folder / changed} is not what its stage wrote: it was changed or removed since; "
            f"{way_out(folder)}"
        )
    return success


def output_digest(path: Path) -> str:
    """Return the digest of a complete stage output."""
    return check_complete(path).digest


def lineage_of(folder: Path) -> dict[str, Any]:
    """Return the lineage record of an output folder, an empty one when it is missing or broken."""
    return read_json(storage_at(folder), LINEAGE)


def discard(folder: Path) -> None:
    """Remove an output; from the first moment on it does not count as complete."""
    storage_at(folder).delete(SUCCESS)
    storage_at(folder.parent).delete_below(folder.name)


def way_out(folder: Path) -> str:
    """Say which stage writes a folder again."""
    return f"run {lineage_of(folder).get('stage') or folder.parent.name} again"


def _without(name: str, elsewhere: Mapping[str, str]) -> bool:
    return not any(name == place or name.startswith(f"{place}/") for place in elsewhere)


def _remove_unfinished(folder: Path) -> None:
    for name in file_names(folder):
        if is_temporary(name):
            (folder / name).unlink()


def _remove_strays(storage: Storage, *, known: Mapping[str, FileRecord]) -> None:
    """Remove what a dead runner uploaded and nobody recorded: a chunk of it might be read as ours."""
    for info in list(storage.list()):
        if info.key not in known and not info.key.startswith(f"{PARTS_FOLDER}/"):
            storage.delete(info.key)


def _is_output(name: str) -> bool:
    first, _, _ = name.partition("/")
    is_aside = name in _NOT_OUTPUT or first in _NOT_OUTPUT_FOLDERS or name.endswith(".log")
    return not is_aside and not is_temporary(name)
