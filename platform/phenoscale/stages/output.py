"""What a stage builds into: a local folder, and the parts of it that are published while it is being built.

A part (a plate, a shard, a checkpoint) is published as soon as it is whole, under a name of its own. Whoever
takes up the work of a killed runner, on this machine or another, finds it again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

from phenoscale.files import write_atomic

PARTS_FOLDER: Final = ".parts"


class Output:
    """An output under construction.

    Attributes:
        folder: local folder to write into; what lies there when the stage returns is committed.
        sources_digest: digest of the code that computes the stage, which belongs into every request.
    """

    def __init__(self, folder: Path, *, sources_digest: str = "") -> None:
        self.folder, self.sources_digest = folder, sources_digest

    def has(self, part: str) -> bool:
        """Whether a part was published under this key, now or by a runner that was killed since."""
        return self._record(part).is_file()

    def publish(self, part: str, names: Sequence[str], *, request: str = "") -> None:
        """Make a part count: from now on no runner of this key builds it again.

        Args:
            part: the part's name, such as `screen/experiment/plate`.
            names: its files and folders, relative to `folder`; none of them is written to again.
            request: digest of all that decides the part's bytes, by which outputs of other keys find it.
        """
        record = {"part": part, "names": list(names), "request": request}
        write_atomic(self._record(part), json.dumps(record).encode())

    def adopt(self, part: str, *, request: str) -> bool:
        """Take a part over from whichever output holds one of this request, linked and not copied.

        Returns:
            Whether there is one; then it counts as published.
        """
        del part, request
        return False

    def fetch(self, part: str) -> Path:
        """Make the files of a published part readable below `folder`, and return `folder`."""
        assert self.has(part), f"part {part} was not published"
        return self.folder

    def withdraw(self, part: str) -> None:
        """Remove a published part, such as a checkpoint that a newer one replaces."""
        record = self._record(part)
        if not record.is_file():
            return
        names = json.loads(record.read_bytes())["names"]
        record.unlink()
        for name in names:
            place = self.folder / name
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)

    def _record(self, part: str) -> Path:
        return self.folder / PARTS_FOLDER / f"{quote(part, safe='')}.json"
