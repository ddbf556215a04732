"""Digests of a stage's inputs: outputs by commit record, raw files by content, raw folders by listing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from phenoscale.config import digest_json
from phenoscale.errors import UserError
from phenoscale.stages.attempt import output_of_attempt
from phenoscale.stages.commit import check_complete, lineage_of
from phenoscale.stages.fetch import fetch_output, output_above
from phenoscale.stages.lease import LEASE_SUFFIX
from phenoscale.stages.records import LINEAGE, PARTS_FOLDER, SUCCESS
from phenoscale.storage import digest_file, digest_listing, is_remote
from phenoscale.storage.mirror import address_of

InputPaths = Mapping[str, Path | str | Sequence[Path | str]]


@dataclasses.dataclass(frozen=True)
class Input:
    """One input of a stage: where it lies, its digest, and the stage and key that made it, if one did."""

    name: str
    uri: str
    digest: str
    stage: str = ""
    key: str = ""

    def record(self) -> dict[str, Any]:
        """Return the entry of lineage.json."""
        entry = {"uri": self.uri, "digest": self.digest}
        return {**entry, "stage": self.stage, "key": self.key} if self.stage else entry


def resolve_inputs(inputs: InputPaths, *, workspace: Path | None = None) -> list[Input]:
    """Return the inputs with their digests, in the given order; a sequence becomes name[0], name[1], ...

    An empty location is an input that was not given, and is left out. `workspace` does not
    count where it lies in a raw folder.

    Raises:
        UserError: when one is missing, or is the output of a stage that did not finish or was changed since.
    """
    return [resolve_input(place, name=name, workspace=workspace) for name, place in _flatten(inputs)]


def resolve_input(place: Path | str, *, name: str, workspace: Path | None = None) -> Input:
    """Return one input with its digest."""
    address = address_of(place)
    if address is not None:
        if is_remote(str(place)) and output_above(address) is None:
            return Input(name=name, uri=address, digest=digest_listing(address))
        place = fetch_output(address)
    path = Path(place).resolve()
    if not path.exists():
        raise UserError(
            f"input {name}: {place} does not exist; check the path, or run the step that writes it"
        )
    folder = stage_folder(path)
    if folder is None:
        return Input(name=name, uri=str(path), digest=_digest_raw(path, workspace=workspace))
    success = check_complete(folder)
    below = path.relative_to(folder).as_posix()
    digest = success.digest if below == "." else success.digest_below(below)
    if digest is None:
        raise UserError(f"input {name}: {place} is not among the files that its stage wrote; check the path")
    stage = str(lineage_of(folder).get("stage", ""))
    return Input(name=name, uri=address or str(path), digest=digest, stage=stage, key=success.key)


def _digest_raw(path: Path, *, workspace: Path | None) -> str:
    return digest_listing(str(path), without=workspace) if path.is_dir() else digest_file(path)


def stage_folder(path: Path) -> Path | None:
    """Return the stage output that a path is or lies in, complete or not; None for other data."""
    for folder in (path, *path.parents):
        if any((folder / record).is_file() for record in (SUCCESS, LINEAGE)) or _is_begun(folder):
            return folder
    return None


def _is_begun(folder: Path) -> bool:
    """Whether a folder is an output, or an attempt at one, that was begun: its lease stays beside it."""
    output = output_of_attempt(folder)
    lease = output.parent / (output.name + LEASE_SUFFIX)
    return (folder / PARTS_FOLDER).is_dir() or any(lease.glob("0*"))


def inputs_digest(inputs: Sequence[Input]) -> str:
    """Return the digest of the inputs' names and digests; where they lie does not matter."""
    return digest_json([[entry.name, entry.digest] for entry in inputs])


def _flatten(inputs: InputPaths) -> Iterator[tuple[str, Path | str]]:
    for name, places in inputs.items():
        if isinstance(places, str | Path):
            if str(places):
                yield name, places
        else:
            for number, place in enumerate(places):
                yield f"{name}[{number}]", place
