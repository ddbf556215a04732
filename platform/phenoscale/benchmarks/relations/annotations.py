"""Known relationships: undirected pairs of entities from a CSV with the header `entity1,entity2`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from phenoscale.errors import UserError
from phenoscale.schema.readable import listed_columns, readable

_COLUMNS = ("entity1", "entity2")
_SUFFIXES = (".gz", ".csv", ".tsv", ".txt")


@dataclass(frozen=True)
class AnnotationSource:
    """The pairs of one source, without self pairs, each once, the smaller name first.

    Attributes:
        name: the file's stem.
        pairs: [P, 2] names, sorted.
        num_rows: rows of the file.
    """

    name: str
    pairs: npt.NDArray[np.str_]
    num_rows: int

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def entities(self) -> npt.NDArray[np.str_]:
        """Every name that occurs, sorted."""
        return np.unique(self.pairs)


def read_annotations(path: str | Path) -> AnnotationSource:
    """Read one annotation source.

    Raises:
        UserError: a missing or unreadable file, another header, an empty cell, or no pair at all.
    """
    file = Path(path)
    return make_source(source_name(file), read_pairs(file, columns=_COLUMNS))


def read_sources(paths: Iterable[str | Path]) -> list[AnnotationSource]:
    """Read several annotation sources, refused as by `read_annotations` and `differently_named`."""
    return [read_annotations(file) for file in differently_named(paths)]


def differently_named(paths: Iterable[str | Path]) -> list[Path]:
    """The files, each with a stem of its own, which is all that tells their rows apart.

    Raises:
        UserError: two files with the same stem.
    """
    places: dict[str, Path] = {}
    for file in map(Path, paths):
        name = source_name(file)
        if name in places:
            raise UserError(
                f"{places[name]} and {file} are both named {name}, but rows are told apart by the name; "
                "leave one out, or rename a file"
            )
        places[name] = file
    return list(places.values())


def read_pairs(path: str | Path, *, columns: tuple[str, str]) -> npt.NDArray[np.str_]:
    """Read two columns of names of a CSV, [rows, 2].

    Raises:
        UserError: a missing or unreadable file, another header, or an empty cell.
    """
    file, header = Path(path), ",".join(columns)
    with readable(file, holds=f"a CSV with {header}", way_out=f"write it with the header {header}"):
        frame = pd.read_csv(file, dtype=str, keep_default_na=False)
    missing = [name for name in columns if name not in frame]
    if missing:
        raise UserError(
            f"{file} has {listed_columns(frame.columns)}, but its header must be {header}; rename the two "
            "columns, or read an official file with `benchmark annotations`"
        )
    pairs = frame[list(columns)].to_numpy(dtype=str)
    empty = np.flatnonzero((np.char.strip(pairs) == "").any(axis=1))
    if len(empty):
        raise UserError(
            f"{file} has an empty name in {len(empty)} of {len(pairs)} pairs (line {int(empty[0]) + 2} "
            "first); the file may be cut short: complete or remove these lines"
        )
    return np.char.strip(pairs)


def by_number_of_sources(sources: Sequence[AnnotationSource]) -> list[AnnotationSource]:
    """Pairs that at least 1, 2, ... of the sources have, each as a source of its own, up to the last pair."""
    everything, total = np.concatenate([source.pairs for source in sources]), len(sources)
    pairs, counts = np.unique(everything, axis=0, return_counts=True)
    return [
        AnnotationSource(f"at least {least} of {total} sources", pairs[counts >= least], len(everything))
        for least in range(1, int(counts.max()) + 1)
    ]


def make_source(name: str, pairs: npt.NDArray[np.str_] | Sequence[tuple[str, str]]) -> AnnotationSource:
    """Drop self pairs and direction and repeats.

    Raises:
        UserError: nothing is left.
    """
    given = np.char.strip(np.asarray(pairs, dtype=np.str_).reshape(-1, 2))
    ordered = np.sort(given[given[:, 0] != given[:, 1]], axis=1)
    if not len(ordered):
        raise UserError(f"annotation source {name} has no pair of two different names; check the file")
    return AnnotationSource(name, np.unique(ordered, axis=0), len(given))


def source_name(path: Path) -> str:
    """The file's stem: `CORUM.csv.gz` is CORUM."""
    name = path.name
    while Path(name).suffix in _SUFFIXES:
        name = Path(name).stem
    return name
