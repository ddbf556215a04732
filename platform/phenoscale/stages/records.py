"""The records of an output's files, `_SUCCESS.json` of all and `.parts/` of parts, and their checks."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any, Final, Self
from urllib.parse import quote

from phenoscale.errors import UserError
from phenoscale.storage import Storage
from phenoscale.storage.digests import digest_entries

SUCCESS: Final = "_SUCCESS.json"
LINEAGE: Final = "lineage.json"
PARTS_FOLDER: Final = ".parts"
FORMAT_VERSION: Final = 2
_CHUNK_BYTES: Final = 16 << 20


@dataclasses.dataclass(frozen=True)
class FileRecord:
    """One file of an output as it was when it was published.

    Attributes:
        size: in bytes.
        etag: what the store says of it; changes when the bytes do.
        sha256: digest of its bytes.
    """

    size: int
    etag: str
    sha256: str


@dataclasses.dataclass(frozen=True)
class PartRecord:
    """A published part of an output.

    Attributes:
        part: its name.
        names: its files and folders.
        request: digest of all that decided its bytes, "" when no other output may take it over.
        files: its files.
        elsewhere: the output (`<stage>/<key>`) that its bytes lie in, "" for this one.
    """

    part: str
    names: tuple[str, ...]
    request: str
    files: Mapping[str, FileRecord]
    elsewhere: str = ""

    def as_bytes(self) -> bytes:
        """The record as it is stored."""
        return json.dumps(dataclasses.asdict(self), indent=1).encode()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a stored record."""
        fields = json.loads(data)
        files = {name: FileRecord(**entry) for name, entry in fields["files"].items()}
        return cls(**{**fields, "names": tuple(fields["names"]), "files": files})


@dataclasses.dataclass(frozen=True)
class Success:
    """The content of `_SUCCESS.json`.

    Attributes:
        key: of the stage.
        digest: of the files' names and bytes, those left out that say when or by whom.
        files: every file that counts.
        elsewhere: files and folders whose bytes lie in another output of the workspace, and in which.
    """

    key: str
    digest: str
    files: Mapping[str, FileRecord]
    elsewhere: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(
        cls,
        files: Mapping[str, FileRecord],
        *,
        key: str,
        elsewhere: Mapping[str, str],
        dated: Collection[str] = (),
    ) -> Self:
        """Make the record of an output's files; those that are `dated` do not enter its digest."""
        ordered = dict(sorted(files.items()))
        digest = digest_entries(
            {name: record.sha256 for name, record in ordered.items() if name not in dated}
        )
        return cls(key=key, digest=digest, files=ordered, elsewhere=dict(sorted(elsewhere.items())))

    def as_bytes(self) -> bytes:
        """The record as it is stored."""
        return json.dumps({"format_version": FORMAT_VERSION, **dataclasses.asdict(self)}, indent=1).encode()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a stored record.

        Raises:
            ValueError: it is broken, or of another version.
        """
        fields = json.loads(data)
        version = fields.pop("format_version", 1)
        if version != FORMAT_VERSION:
            raise ValueError(f"format version {version}; this is version {FORMAT_VERSION}")
        files = {name: FileRecord(**entry) for name, entry in fields.pop("files").items()}
        return cls(files=files, **fields)

    def digest_below(self, name: str) -> str | None:
        """Return the digest of one file or subfolder of the output, None when it holds no such thing."""
        if name in self.files:
            return self.files[name].sha256
        below = {file.removeprefix(f"{name}/"): self.files[file].sha256 for file in self.names_below(name)}
        return digest_entries(below) if below else None

    def names_below(self, name: str) -> list[str]:
        """Return the files that are, or lie in, a file or folder of the output; "" is the whole."""
        return [file for file in self.files if not name or file == name or file.startswith(f"{name}/")]

    def output_of(self, name: str) -> str:
        """Return the output that a file's or folder's bytes lie in, "" for this one."""
        for place in (name, *(str(parent) for parent in PurePosixPath(name).parents)):
            if place in self.elsewhere:
                return self.elsewhere[place]
        return ""


def part_key(part: str) -> str:
    """Return where a part's record lies in its output."""
    return f"{PARTS_FOLDER}/{quote(part, safe='')}.json"


def changed_name(storage: Storage, files: Mapping[str, FileRecord]) -> str | None:
    """Return the first file that is not what its record says, None when all are.

    A file of the recorded size and etag is trusted; one of another etag, such as a copy, is hashed again.
    """
    found = storage.find(files)
    for name, record in files.items():
        info = found.get(name)
        if info is None or info.size != record.size:
            return name
        if info.etag != record.etag and digest_object(storage, name) != record.sha256:
            return name
    return None


def digest_object(storage: Storage, key: str) -> str:
    """Return the sha256 of an object's bytes."""
    digest, start = hashlib.sha256(), 0
    while chunk := storage.read_range(key, start=start, length=_CHUNK_BYTES):
        digest.update(chunk)
        start += len(chunk)
    return digest.hexdigest()


def read_json(storage: Storage, key: str) -> dict[str, Any]:
    """Return a JSON record, an empty one when it is missing or broken."""
    try:
        data = json.loads(storage.read_bytes(key))
    except (UserError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def is_read_in_place(name: str) -> bool:
    """Whether a file belongs to a chunked array, whose readers take what they need from the store."""
    return any(part.endswith(".zarr") for part in PurePosixPath(name).parts)


def split_by_output(files: Iterable[str], success: Success) -> dict[str, list[str]]:
    """Group files by the output that their bytes lie in, "" for the output itself."""
    groups: dict[str, list[str]] = {}
    for name in files:
        groups.setdefault(success.output_of(name), []).append(name)
    return groups
