"""Versions of what is written: a reader takes the current one, and refuses another by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from phenoscale.errors import UserError


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        name: such as `phenoscale.map`, in the header of every such file.
        version: the one that is written and read.
        way_out: what to do with a file of another version.
    """

    name: str
    version: int
    way_out: str

    @property
    def header(self) -> dict[str, Any]:
        """What a file of this format says of itself."""
        return {"format": self.name, "format_version": self.version}

    def check(self, header: Mapping[str, Any], *, source: str) -> None:
        """Refuse another version; a header that names none is of the first.

        An empty header is that of a file from elsewhere, of which its content decides, as of another format.

        Raises:
            UserError: names both versions and the way out.
        """
        version = header.get("format_version", 1)
        if header and header.get("format", self.name) == self.name and version != self.version:
            raise UserError(
                f"{source} is of the format {self.name}, version {version}, but this phenoscale reads "
                f"version {self.version}; {self.way_out}"
            )
