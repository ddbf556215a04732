"""What a stage returns, and how a running stage is watched."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from phenoscale.storage.mirror import address_of, local_path

Observer = Callable[[int, Mapping[str, float]], None]
"""Called with (step, metrics) while a stage runs; it may watch, it may not change the numbers."""


def ignore(step: int, metrics: Mapping[str, float]) -> None:
    """Watch nothing: the observer of a stage that nobody follows."""


@dataclasses.dataclass(frozen=True)
class StageResult:
    """A complete stage output.

    Attributes:
        stage: the stage's name.
        key: digest of the code, config and inputs that made it.
        path: the output folder.
        digest: digest of the output's files: equal computations have equal ones; "" while only parts exist.
        reused: whether it was there already.
        seconds: how long this call took.
        summary: what the stage says about its output, as plain JSON values.
    """

    stage: str
    key: str
    path: Path
    digest: str
    reused: bool
    seconds: float
    summary: Mapping[str, Any]

    @property
    def place(self) -> str:
        """Where every machine finds the output: its address in a bucket, or its path."""
        return address_of(self.path) or str(self.path)

    def as_json(self) -> bytes:
        """The result for another process, of this machine or another."""
        return json.dumps({**dataclasses.asdict(self), "path": self.place}).encode()

    @classmethod
    def from_json(cls, data: bytes) -> StageResult:
        """The result of another process."""
        record = json.loads(data)
        return cls(**{**record, "path": local_path(record["path"])})
