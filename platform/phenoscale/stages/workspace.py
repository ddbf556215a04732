"""A workspace: the place of all outputs, a local folder or a bucket's prefix with a copy on this machine."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from phenoscale.storage import Storage, is_remote, open_storage
from phenoscale.storage.mirror import local_path


@dataclasses.dataclass(frozen=True)
class Workspace:
    """Where outputs lie.

    Attributes:
        uri: its absolute path or address.
        root: the folder itself, or where this machine keeps its copy and what is of this machine alone.
        storage: the store of what every machine sees.
    """

    uri: str
    root: Path
    storage: Storage

    @property
    def is_remote(self) -> bool:
        """Whether it lies in a bucket."""
        return is_remote(self.uri)


def open_workspace(uri: str | Path) -> Workspace:
    """Open a workspace; nothing is made or asked before it is used.

    Raises:
        UserError: for an address that is no folder and no `s3://bucket/prefix`.
    """
    if is_remote(str(uri)):
        storage = open_storage(str(uri))
        return Workspace(uri=storage.uri, root=local_path(storage.uri), storage=storage)
    folder = Path(str(uri).removeprefix("file://")).resolve()
    return Workspace(uri=str(folder), root=folder, storage=open_storage(str(folder)))
