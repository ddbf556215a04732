"""The official files of the five annotation sources, and pair tables: pairs of names, and what was left out.

CORUM: complexes with subunits by `;` (releases to 4 and from 5). hu.MAP: complexes (2 and 3), clusters or
pairs with a probability. Reactome: functional interactions (`FIsInGene`), `interactions.tab-delimited`, or
participants of complexes. SIGNOR: `all_data.tsv`. STRING: `protein.links`. Any of them may be compressed with
gzip. A complex gives every pair of its members. Direction plays no part: see `make_source`.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations
from pathlib import Path
from typing import Final, Literal, TextIO

from phenoscale.errors import UserError
from phenoscale.schema.readable import readable

SourceName = Literal["corum", "humap", "reactome", "signor", "string", "pairs"]
Pair = tuple[str, str]

_UNNAMED = ("", "None", "-")
_ALIAS_SOURCES = ("Ensembl_HGNC_symbol", "Ensembl_HGNC", "BioMart_HUGO")


@dataclass(frozen=True)
class ParsedFile:
    """The pairs of a file in its order, directions and repeats included.

    Attributes:
        pairs: of names.
        num_rows: rows of the file, without its header.
        excluded: how many rows (of complexes: members) were left out, by reason.
    """

    pairs: Sequence[Pair]
    num_rows: int
    excluded: Mapping[str, int]


@dataclass(frozen=True)
class ReadOptions:
    """What changes which pairs are read.

    Attributes:
        above: keep pairs whose score is above this, where the file has scores from 0 to 1.
        organism: of a complex, where the file names it.
        columns: header of the two names of a pair table.
        names: names of identifiers, where the file has no gene symbols.
    """

    above: float
    organism: str
    columns: Pair
    names: Mapping[str, str]


def parse_annotation_file(path: str | Path, *, source: SourceName, options: ReadOptions) -> ParsedFile:
    """Read a file as what its source publishes.

    Raises:
        UserError: no such file, another format, a file that was cut short, or no pair.
    """
    file = Path(path)
    lines = _lines(file, is_official=source != "pairs")
    header = next(lines, "")
    parsed = _PARSERS[source](header, lines, file=file, options=options)
    if not parsed.pairs:
        raise UserError(
            f"{file} gives no pair from {parsed.num_rows} rows (left out: {dict(parsed.excluded)}); check "
            "--source, --above, --organism and --names"
        )
    return parsed


def read_names(path: str | Path) -> dict[str, str]:
    """Read names of identifiers: STRING's `protein.info` or `protein.aliases`, or a table of two columns.

    Raises:
        UserError: no such file, or one without two columns.
    """
    file = Path(path)
    lines = _lines(file, is_official=False)
    first = next(lines, "")
    header = _cells(first, _separator(first))
    if len(header) < 2:
        raise UserError(f"{file} has no second column, but names of identifiers are identifier,symbol")
    rows = list(_rows(lines, file=file, header=first, separator=_separator(first)))
    if header[1:3] == ["alias", "source"]:
        kinds = {row[2] for row in rows}
        chosen = next((kind for kind in _ALIAS_SOURCES if kind in kinds), None)
        if chosen is None:
            raise UserError(f"{file} has no alias of the sources {_ALIAS_SOURCES}; give protein.info instead")
        return {row[0]: row[1] for row in rows if row[2] == chosen}
    return {row[0]: row[1] for row in rows}


def _lines(file: Path, *, is_official: bool) -> Iterator[str]:
    """Lines without their ends, one by one: STRING has millions. Official files end with a line break."""
    line = "\n"
    way_out = "it may be cut short: download it again"
    reading = readable(file, holds="an annotation file", kind="a readable text or gzip file", way_out=way_out)
    with reading, _open(file) as text:
        for line in text:
            yield line.rstrip("\r\n")
    if is_official and not line.endswith("\n"):
        raise UserError(
            f"the last line of {file} has no end, as in a file that was cut short; download the file again"
        )


def _open(file: Path) -> TextIO:
    with file.open("rb") as begin:
        is_gzip = begin.read(2) == b"\x1f\x8b"
    return gzip.open(file, "rt", encoding="utf-8") if is_gzip else file.open(encoding="utf-8")


def _rows(lines: Iterable[str], *, file: Path, header: str, separator: str) -> Iterator[list[str]]:
    """Cells of each line; a line with another number of cells than the header is refused."""
    width = header.count(separator) + 1
    for number, line in enumerate(lines, start=2):
        cells = [cell.strip().strip('"') for cell in line.split(separator)]
        if len(cells) != width:
            raise UserError(
                f"line {number} of {file} has {len(cells)} cells, but the first has {width}; the file may be "
                "cut short: download it again"
            )
        yield cells


@dataclass(frozen=True)
class _Table:
    """The lines below a header, cell by cell."""

    header: str
    lines: Iterable[str]
    file: Path
    separator: str = "\t"

    def has(self, *columns: str) -> bool:
        return set(columns) <= set(_cells(self.header, self.separator))

    def rows(self, *columns: str) -> Iterator[list[str]]:
        """The wanted columns of every row."""
        header = _cells(self.header, self.separator)
        missing = [name for name in columns if name not in header]
        if missing:
            raise self.another_format(f"the columns {missing}")
        chosen = [header.index(name) for name in columns]
        for row in _rows(self.lines, file=self.file, header=self.header, separator=self.separator):
            yield [row[index] for index in chosen]

    def another_format(self, wanted: str) -> UserError:
        shown = [name[:40] for name in _cells(self.header, self.separator)[:6]]
        return UserError(
            f"{self.file} begins with {shown}, but {wanted} were expected; check --source and the file"
        )


def _cells(line: str, separator: str) -> list[str]:
    return [cell.strip().strip('"').lstrip("#").strip() for cell in line.split(separator)]


def _separator(header: str) -> str:
    return "\t" if "\t" in header else ","


def _complexes(members: Iterable[Iterable[str]], *, excluded: Counter[str]) -> ParsedFile:
    """Every pair of different members of each complex."""
    pairs: list[Pair] = []
    num_rows = 0
    for names in members:
        given = list(names)
        named = sorted({name for name in given if name not in _UNNAMED})
        num_rows += 1
        excluded["members_without_name"] += sum(name in _UNNAMED for name in given)
        excluded["complexes_of_one"] += len(named) < 2
        pairs += combinations(named, 2)
    return ParsedFile(pairs, num_rows, _counted(excluded))


def _counted(excluded: Counter[str]) -> dict[str, int]:
    return {reason: count for reason, count in sorted(excluded.items()) if count}


def _parse_corum(header: str, lines: Iterator[str], *, file: Path, options: ReadOptions) -> ParsedFile:
    table = _Table(header, lines, file)
    forms = [("Organism", "subunits(Gene name)"), ("organism", "subunits_gene_name")]
    columns = next((form for form in forms if table.has(*form)), None)
    if columns is None:
        raise table.another_format(f"CORUM's columns {forms[0]} or {forms[1]}")
    rows = list(table.rows(*columns))
    kept = [names for organism, names in rows if organism == options.organism]
    excluded = Counter({"complexes_of_other_organisms": len(rows) - len(kept)})
    parsed = _complexes(([name.strip() for name in names.split(";")] for names in kept), excluded=excluded)
    return replace(parsed, num_rows=len(rows))


def _parse_humap(header: str, lines: Iterator[str], *, file: Path, options: ReadOptions) -> ParsedFile:
    table = _Table(header, lines, file, _separator(header))
    if table.has("genenames"):
        return _complexes((row[0].split() for row in table.rows("genenames")), excluded=Counter())
    everything = chain([header], lines)
    if _is_scored(header.split("\t")):
        scored = _rows(everything, file=file, header=header, separator="\t")
        return _scored_pairs(scored, file=file, above=options.above)
    if not header or "," in header or "_ID" in header:
        raise table.another_format("hu.MAP's complexes (`genenames`), clusters or scored pairs")
    return _complexes((line.split() for line in everything), excluded=Counter())


def _is_scored(cells: Sequence[str]) -> bool:
    try:
        return len(cells) == 3 and 0 <= float(cells[2]) <= 1
    except ValueError:
        return False


def _scored_pairs(
    rows: Iterable[Sequence[str]], *, file: Path, above: float, unit: float = 1.0
) -> ParsedFile:
    """Pairs with a score above a threshold; rows are (name, name, score)."""
    pairs: list[Pair] = []
    num_rows, num_low = 0, 0
    for first, second, score in rows:
        num_rows += 1
        try:
            is_kept = float(score) / unit > above
        except ValueError as error:
            raise UserError(
                f"row {num_rows} of {file} has the score {score!r}, which is no number; check --source, or "
                "download the file again"
            ) from error
        num_low += not is_kept
        if is_kept:
            pairs.append((first, second))
    return ParsedFile(pairs, num_rows, _counted(Counter(rows_with_a_low_score=num_low)))


def _parse_reactome(header: str, lines: Iterator[str], *, file: Path, options: ReadOptions) -> ParsedFile:
    table = _Table(header, lines, file)
    interactors = ("Interactor 1 uniprot id", "Interactor 2 uniprot id")
    if table.has("Gene1", "Gene2", "Score"):
        return _scored_pairs(table.rows("Gene1", "Gene2", "Score"), file=file, above=options.above)
    if table.has(*interactors):
        pairs = [(_accession(a), _accession(b)) for a, b in table.rows(*interactors)]
        return _named(ParsedFile(pairs, len(pairs), {}), file=file, names=options.names)
    if table.has("identifier", "participants"):
        _need_names(file, options.names)
        return _complexes(
            (
                [options.names.get(_accession(each), "") for each in row[0].split("|") if "uniprot" in each]
                for row in table.rows("participants")
            ),
            excluded=Counter(),
        )
    raise table.another_format("the columns of Reactome's FIsInGene, interactions or participants")


def _accession(reference: str) -> str:
    """`uniprotkb:P04637-2` is P04637."""
    return reference.rpartition(":")[2].partition("-")[0]


def _parse_signor(header: str, lines: Iterator[str], *, file: Path, options: ReadOptions) -> ParsedFile:
    del options
    rows = list(_Table(header, lines, file).rows("ENTITYA", "TYPEA", "ENTITYB", "TYPEB"))
    pairs = [(a, b) for a, kind_a, b, kind_b in rows if kind_a == kind_b == "protein"]
    return ParsedFile(pairs, len(rows), _counted(Counter(rows_not_of_two_proteins=len(rows) - len(pairs))))


def _parse_string(header: str, lines: Iterator[str], *, file: Path, options: ReadOptions) -> ParsedFile:
    rows = _Table(header, lines, file, " ").rows("protein1", "protein2", "combined_score")
    scored = _scored_pairs(rows, file=file, above=options.above, unit=1000.0)
    return _named(scored, file=file, names=options.names)


def _need_names(file: Path, names: Mapping[str, str]) -> None:
    if not names:
        raise UserError(
            f"{file} names proteins by identifiers; give --names with their symbols (STRING: protein.info, "
            "Reactome: a table accession,symbol)"
        )


def _named(parsed: ParsedFile, *, file: Path, names: Mapping[str, str]) -> ParsedFile:
    """Replace identifiers by their names; a pair with an unknown identifier is left out."""
    _need_names(file, names)
    known = [(names[a], names[b]) for a, b in parsed.pairs if a in names and b in names]
    excluded = Counter(parsed.excluded) + Counter(
        pairs_with_an_unknown_identifier=len(parsed.pairs) - len(known)
    )
    return ParsedFile(known, parsed.num_rows, _counted(excluded))


def _parse_pairs(header: str, lines: Iterator[str], *, file: Path, options: ReadOptions) -> ParsedFile:
    rows = list(_Table(header, lines, file, _separator(header)).rows(*options.columns))
    empty = [number for number, row in enumerate(rows, start=2) if "" in row]
    if empty:
        raise UserError(
            f"{file} has an empty name in {len(empty)} of {len(rows)} pairs (line {empty[0]} first); the "
            "file may be cut short: complete or remove these lines"
        )
    return ParsedFile([(a, b) for a, b in rows], len(rows), {})


_PARSERS: Final[Mapping[SourceName, Callable[..., ParsedFile]]] = {
    "corum": _parse_corum,
    "humap": _parse_humap,
    "reactome": _parse_reactome,
    "signor": _parse_signor,
    "string": _parse_string,
    "pairs": _parse_pairs,
}
