"""What a stage builds into: a local folder, and the parts of it that are published while it is being built.

A part (a plate, a shard, a checkpoint) is published as soon as it is whole, under a name of its own. Whoever
takes up the work of a killed runner, on this machine or another, finds it again; so does a stage of another
key that would make the same bytes. The rest lies in the folder alone until the stage is committed.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from phenoscale.errors import RetryError
from phenoscale.logs import get_logger
from phenoscale.stages.records import (
    PARTS_FOLDER,
    FileRecord,
    PartRecord,
    changed_name,
    is_read_in_place,
    part_key,
    read_json,
)
from phenoscale.stages.workspace import Workspace
from phenoscale.storage import Storage, digest_file, is_remote, open_storage
from phenoscale.storage.digests import file_names

REQUESTS_FOLDER: Final = "part-requests"
_NUM_TRANSFERS: Final = 8

logger = get_logger(__name__)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the published files of an output go.

    Attributes:
        workspace: that holds the output.
        name: of the output in it: `<stage>/<key>`.
        check: raises unless this runner may still publish.
    """

    workspace: Workspace
    name: str
    check: Callable[[], None]


@dataclasses.dataclass(frozen=True)
class OutputAddress:
    """Where the parts of an output go, for processes on any machine; picklable.

    Attributes:
        workspace: path or address of the workspace.
        name: of the output in it: `<stage>/<key>`.
        sources_digest: digest of the code that computes the stage.
    """

    workspace: str
    name: str
    sources_digest: str


class Output:
    """An output under construction.

    Attributes:
        folder: local folder to write into; what lies there when the stage returns is committed.
        sources_digest: digest of the code that computes the stage, which belongs into every request.
        dated: files that say when, by whom and under which number: in these equal computations differ, so
            they are published and checked like all, and stay out of the output's digest.
    """

    def __init__(self, folder: Path, *, sources_digest: str = "", place: Place | None = None) -> None:
        """Without a place, which is what tests of a builder do, the folder itself is where parts go."""
        self.folder, self.sources_digest = folder, sources_digest
        self.dated: frozenset[str] = frozenset()
        self._place = place
        self._storage = place.workspace.storage.at(place.name) if place else open_storage(str(folder))
        self._known: set[str] | None = None

    @property
    def address(self) -> OutputAddress:
        """Where other processes publish parts of this output."""
        assert self._place is not None, "an output without a place has no address"
        return OutputAddress(self._place.workspace.uri, self._place.name, self.sources_digest)

    @property
    def storage(self) -> Storage:
        """Where published files lie."""
        return self._storage

    def has(self, part: str) -> bool:
        """Whether a part was published under this key: by this process, another one, or one killed since."""
        known = self._known_keys()
        if part_key(part) not in known and self._storage.exists(part_key(part)):
            known.add(part_key(part))
        return part_key(part) in known

    def publish(self, part: str, names: Sequence[str], *, request: str = "") -> None:
        """Make a part count: from now on no runner of this key builds it again.

        Args:
            part: the part's name, such as `screen/experiment/plate`.
            names: its files and folders, relative to `folder`; none of them is written to again.
            request: digest of all that decides the part's bytes, by which outputs of other keys find it.

        Raises:
            RetryError: another runner has taken over, the store is away or the disk full.
        """
        files = self.put(name for given in names for name in _below(self.folder, given))
        self._enter(PartRecord(part, names=tuple(names), request=request, files=files))
        if self._place is not None and self._place.workspace.is_remote:
            # the only copy that is ever read is the published one
            for name in filter(is_read_in_place, files):
                (self.folder / name).unlink()

    def adopt(self, part: str, *, request: str) -> bool:
        """Take a part over from whichever output holds one of this request, linked and not copied.

        Returns:
            Whether there is one; then it counts as published.
        """
        if self._place is None or not request:
            return False
        workspace = self._place.workspace.storage
        where = read_json(workspace, f"{REQUESTS_FOLDER}/{request}.json")
        if not where or where["output"] == self._place.name:
            return False
        found = _find_part(workspace.at(where["output"]), part=where["part"], request=request)
        if found is None:
            return False
        source = found.elsewhere or where["output"]
        files = found.files
        if changed_name(workspace.at(source), files) is not None:
            return False
        if not self._place.workspace.is_remote:
            files, origin, source = {}, self._place.workspace.root / source, ""
            for name, record in found.files.items():
                info = self._storage.put_file(name, origin / name, sha256=record.sha256)
                files[name] = FileRecord(info.size, etag=info.etag, sha256=record.sha256)
        self._enter(dataclasses.replace(found, part=part, files=files, elsewhere=source))
        return True

    def fetch(self, part: str) -> Path:
        """Make the files of a published part readable below `folder`, and return `folder`.

        In a bucket, chunks of arrays stay where they are: they are read in place.
        """
        record = self._record(part)
        fetch_files(self._source(record), record.files, folder=self.folder)
        return self.folder

    def withdraw(self, part: str) -> None:
        """Remove a published part, such as a checkpoint that a newer one replaces."""
        if not self.has(part):
            return
        record = self._record(part)
        self.check()
        self._storage.delete(part_key(part))
        self._known_keys().discard(part_key(part))
        for name in record.names:
            if not record.elsewhere:
                remove = self._storage.delete if name in record.files else self._storage.delete_below
                remove(name)
            place = self.folder / name
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)

    def parts(self) -> list[PartRecord]:
        """Return the records of all published parts, in the order of their names."""
        return [PartRecord.parse(self._storage.read_bytes(key)) for key in sorted(self._known_keys())]

    def drop_changed_parts(self) -> None:
        """Withdraw every part of which a file was changed or removed since; it is built again."""
        for record in self.parts():
            changed = changed_name(self._source(record), record.files)
            if changed is not None:
                logger.warning("%s/%s was changed; its part is built again", self._storage.uri, changed)
                self.withdraw(record.part)

    def put(self, names: Iterable[str]) -> dict[str, FileRecord]:
        """Publish files of the folder, each on its own, and return their records."""
        self.check()
        names = sorted(names)
        with ThreadPoolExecutor(_NUM_TRANSFERS) as executor:
            return dict(zip(names, executor.map(self._put, names), strict=True))

    def _source(self, record: PartRecord) -> Storage:
        """The store in which a part's bytes lie."""
        if not record.elsewhere:
            return self._storage
        assert self._place is not None, "only outputs of a workspace take parts over"
        return self._place.workspace.storage.at(record.elsewhere)

    def _put(self, name: str) -> FileRecord:
        path = self.folder / name
        sha256 = digest_file(path)
        info = self._storage.put_file(name, path, sha256=sha256)
        return FileRecord(info.size, etag=info.etag, sha256=sha256)

    def _enter(self, record: PartRecord) -> None:
        self.check()
        self._storage.write_bytes(part_key(record.part), record.as_bytes())
        self._known_keys().add(part_key(record.part))
        if record.request and self._place is not None:
            where = {"output": self._place.name, "part": record.part}
            key = f"{REQUESTS_FOLDER}/{record.request}.json"
            self._place.workspace.storage.write_bytes(key, json.dumps(where).encode())

    def _record(self, part: str) -> PartRecord:
        assert self.has(part), f"part {part} was not published"
        return PartRecord.parse(self._storage.read_bytes(part_key(part)))

    def _known_keys(self) -> set[str]:
        if self._known is None:
            self._known = {info.key for info in self._storage.list(f"{PARTS_FOLDER}/")}
        return self._known

    def check(self) -> None:
        """Stop unless this runner may still publish."""
        if self._place is not None:
            self._place.check()


def fetch_files(storage: Storage, files: Mapping[str, FileRecord], *, folder: Path) -> None:
    """Bring files of an output into a local folder, those that are not there yet.

    From a bucket, chunks of arrays are not brought, and a file whose bytes are not its record's is refused.
    """
    is_copy = is_remote(storage.uri)
    missing = [name for name, record in files.items() if not _is_there(folder / name, record)]
    missing = [name for name in missing if not (is_copy and is_read_in_place(name))]

    def fetch(name: str) -> None:
        path, record = folder / name, files[name]
        storage.get_file(name, path)
        if is_copy and digest_file(path) != record.sha256:
            path.unlink()
            raise RetryError(
                f"{storage.uri}/{name} did not arrive as it was written; repeat, or build it again"
            )

    with ThreadPoolExecutor(_NUM_TRANSFERS) as executor:
        list(executor.map(fetch, missing))


def _find_part(output: Storage, *, part: str, request: str) -> PartRecord | None:
    """The record of a part in another output, None when it is not there, or was made for another request."""
    if not output.exists(part_key(part)):
        return None
    found = PartRecord.parse(output.read_bytes(part_key(part)))
    return found if found.request == request else None


def _is_there(path: Path, record: FileRecord) -> bool:
    """Whether a file was brought before; it was checked then, and nobody writes to it."""
    try:
        return path.stat().st_size == record.size
    except (FileNotFoundError, NotADirectoryError):
        return False


def _below(folder: Path, name: str) -> list[str]:
    place = folder / name
    return [f"{name}/{below}" for below in file_names(place)] if place.is_dir() else [name]
