"""Links between proteins with their scores: STRING's own files, or a CSV with entity1, entity2 and score.

Shapes: L links.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from phenoscale.errors import UserError
from phenoscale.schema.readable import listed_columns, readable

_PAIR_COLUMNS = ("entity1", "entity2", "score")
_STRING_COLUMNS = ("protein1", "protein2", "combined_score")
_PROTEIN_COLUMNS = ("#string_protein_id", "preferred_name")
_ROWS_AT_ONCE = 1_000_000
_readable = partial(readable, kind="a readable table", way_out="download or write it again")


@dataclass(frozen=True)
class Links:
    """Links among some genes, by their positions, in the direction of the file.

    Attributes:
        first: [L] positions.
        second: [L] positions.
        scores: [L] from 0 to 1.
        num_rows: links of the whole file.
    """

    first: npt.NDArray[np.intp]
    second: npt.NDArray[np.intp]
    scores: npt.NDArray[np.float64]
    num_rows: int


def read_links(path: str | Path, *, genes: npt.NDArray[np.str_], proteins: str | Path = "") -> Links:
    """Read the links among given genes, a part of the file at a time.

    Args:
        path: STRING's `protein.links` (or `.detailed`, `.full`; separated by spaces), or a CSV with entity1,
            entity2 and score.
        genes: sorted names.
        proteins: STRING's `protein.info`, which gives the name of each protein of `protein.links`.

    Raises:
        UserError: a missing or unreadable file, another header, a cut-off line or a score that is no number.
    """
    file = Path(path)
    position = pd.Series(np.arange(len(genes)), index=pd.Index(genes))
    if link_columns(file, proteins=proteins) == _PAIR_COLUMNS:
        return _collect(file, separator=",", columns=_PAIR_COLUMNS, position=position, full_score=1.0)
    names = _protein_names(Path(proteins))
    of_protein = names.map(position).dropna().astype(np.intp)
    if not len(of_protein):
        raise UserError(
            f"none of the {len(names)} proteins of {proteins} has a name of the {len(genes)} genes (such as "
            f"{genes[:3].tolist()}); use HGNC symbols, and the file of the right species"
        )
    return _collect(file, separator=" ", columns=_STRING_COLUMNS, position=of_protein, full_score=1000.0)


@dataclass(frozen=True)
class LinkFile:
    """A file of links whose header is known to be right; its links are read for the genes of each map."""

    path: str
    proteins: str

    def among(self, genes: npt.NDArray[np.str_]) -> Links:
        """The links among given genes, refused as by `read_links`."""
        return read_links(self.path, genes=genes, proteins=self.proteins)


def open_links(path: str, *, proteins: str) -> LinkFile:
    """Check the header of a file of links.

    Raises:
        UserError: what `link_columns` refuses.
    """
    link_columns(path, proteins=proteins)
    return LinkFile(path, proteins)


def link_columns(path: str | Path, *, proteins: str | Path = "") -> tuple[str, ...]:
    """The columns that are read of a file of links; it takes its header only.

    Raises:
        UserError: a missing or unreadable file, another header, or identifiers without a file of their names.
    """
    file = Path(path)
    with _readable(file, holds="a table of links between genes"):
        header = pd.read_csv(file, sep=r"[\s,]+", engine="python", nrows=0)
    if set(_PAIR_COLUMNS) <= set(header.columns):
        return _PAIR_COLUMNS
    if not set(_STRING_COLUMNS) <= set(header.columns):
        raise UserError(
            f"{file} has {listed_columns(header.columns)}, but links have {list(_STRING_COLUMNS)} "
            f"(STRING's protein.links) or {list(_PAIR_COLUMNS)} (a CSV); rename the columns"
        )
    if not str(proteins):
        raise UserError(
            f"{file} names proteins by STRING's identifiers, so the genes are not known; give STRING's "
            "protein.info file of the same version with --proteins"
        )
    with _readable(Path(proteins), holds="STRING's protein.info"):
        pd.read_csv(proteins, sep="\t", nrows=0)
    return _STRING_COLUMNS


def read_genes(path: str | Path) -> list[str]:
    """Read a list of genes: the first word of each line; `#` begins a comment.

    Raises:
        UserError: a missing file, or no gene.
    """
    file = Path(path)
    with readable(file, holds="a list of genes", kind="readable text", way_out="write one gene a line"):
        lines = file.read_text(encoding="utf-8").splitlines()
    words = [line.partition("#")[0].replace(",", " ").split() for line in lines]
    genes = list(dict.fromkeys(found[0] for found in words if found))
    if not genes:
        raise UserError(f"{file} has no gene; write one gene a line")
    return genes


def _protein_names(file: Path) -> pd.Series[str]:
    with _readable(file, holds="STRING's protein.info"):
        frame = pd.read_csv(file, sep="\t", dtype=str, keep_default_na=False)
    if not set(_PROTEIN_COLUMNS) <= set(frame.columns):
        raise UserError(
            f"{file} has {listed_columns(frame.columns)}, but STRING's protein.info begins with "
            f"{list(_PROTEIN_COLUMNS)}; download it again"
        )
    return frame.drop_duplicates(_PROTEIN_COLUMNS[0]).set_index(_PROTEIN_COLUMNS[0])[_PROTEIN_COLUMNS[1]]


def _collect(
    file: Path, *, separator: str, columns: tuple[str, ...], position: pd.Series[int], full_score: float
) -> Links:
    """The links whose two names have a position."""
    kept: list[pd.DataFrame] = []
    num_rows = 0
    with (
        _readable(file, holds="a table of links between genes"),
        pd.read_csv(
            file,
            sep=separator,
            usecols=list(columns),
            dtype={columns[0]: str, columns[1]: str},
            keep_default_na=False,
            chunksize=_ROWS_AT_ONCE,
        ) as parts,
    ):
        for part in parts:
            scores = pd.to_numeric(part[columns[2]], errors="coerce")
            wrong = np.flatnonzero(~((scores >= 0) & (scores <= full_score)).to_numpy())
            if len(wrong):
                score = scores.iloc[wrong[0]]
                way_out = "the file may be cut short: complete or remove this line"
                if full_score == 1 and 1 < score <= 1000:
                    way_out = "divide scores in thousandths by 1000, or give STRING's own file"
                raise UserError(
                    f"{file} has the score '{part[columns[2]].iloc[wrong[0]]}' in line "
                    f"{num_rows + int(wrong[0]) + 2}, but a score lies between 0 and {full_score:g}; "
                    f"{way_out}"
                )
            num_rows += len(part)
            first, second = part[columns[0]].map(position), part[columns[1]].map(position)
            inside = first.notna() & second.notna() & (first != second)
            found = {"first": first[inside], "second": second[inside], "score": scores[inside] / full_score}
            kept.append(pd.DataFrame(found))
    links = pd.concat(kept, ignore_index=True)
    return Links(
        links["first"].to_numpy(dtype=np.intp),
        links["second"].to_numpy(dtype=np.intp),
        links["score"].to_numpy(dtype=float),
        num_rows,
    )
