"""Gene sets (complexes, pathways, GO terms) from GMT files, one-line tables and `cluster,gene` tables."""

from __future__ import annotations

import gzip
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from phenoscale.benchmarks.relations.annotations import differently_named, source_name
from phenoscale.errors import UserError
from phenoscale.schema.readable import readable

_HEADER = ("cluster", "gene")


@dataclass(frozen=True)
class GeneSets:
    """Named sets of genes.

    Attributes:
        name: the file's stem.
        sets: the genes of each set, sorted, each once.
    """

    name: str
    sets: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.sets)


@dataclass(frozen=True)
class SetsInMap:
    """The sets that have enough genes in a map.

    Attributes:
        members: for each set its genes in the map.
        num_excluded: sets with too few.
    """

    members: Mapping[str, tuple[str, ...]]
    num_excluded: int


def read_set_sources(paths: Iterable[str | Path]) -> list[GeneSets]:
    """Read several files of sets, refused as by `read_gene_sets` and `differently_named`."""
    return [read_gene_sets(file) for file in differently_named(paths)]


def read_gene_sets(path: str | Path) -> GeneSets:
    """Read sets from a file; gzip is taken by its name.

    A name ending in `.gmt`: name, description and genes, separated by tabs. A header `cluster,gene` (comma or
    tab): one member per line. Otherwise: the name, a tab, and genes separated by spaces, as in EFAAR.

    Raises:
        UserError: a missing, unreadable or cut-off file, a line of another form, or a name that occurs twice.
    """
    file = Path(path)
    with readable(
        file, holds="a file of gene sets", kind="readable text", way_out="download or write it again"
    ):
        raw = file.read_bytes()
        text = (gzip.decompress(raw) if file.suffix == ".gz" else raw).decode("utf-8")
    numbered = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not numbered:
        raise UserError(f"{file} is empty, but gene sets are needed there; download or write it again")
    separator = "\t" if "\t" in numbered[0][1] else ","
    header = [part.strip().strip('"').lower() for part in numbered[0][1].split(separator)]
    if set(_HEADER) <= set(header):
        sets = _from_members(numbered[1:], separator=separator, header=header, file=file)
    else:
        sets = _from_lines(numbered, is_gmt=file.name.removesuffix(".gz").endswith(".gmt"), file=file)
    return GeneSets(source_name(file).removesuffix(".gmt"), {name: _sorted(sets[name]) for name in sets})


def sets_in_map(sets: GeneSets, map_genes: Collection[str], *, min_genes: int) -> SetsInMap:
    """Keep of each set the genes in the map, and the sets that keep at least `min_genes`."""
    known = frozenset(map_genes)
    inside = {name: tuple(gene for gene in genes if gene in known) for name, genes in sets.sets.items()}
    kept = {name: genes for name, genes in inside.items() if len(genes) >= min_genes}
    return SetsInMap(kept, len(inside) - len(kept))


def _from_lines(numbered: list[tuple[int, str]], *, is_gmt: bool, file: Path) -> dict[str, list[str]]:
    sets: dict[str, list[str]] = {}
    for number, line in numbered:
        parts = line.split("\t")
        genes = parts[2:] if is_gmt else parts[1].split() if len(parts) == 2 else []
        genes = [gene.strip() for gene in genes if gene.strip()]
        if not parts[0].strip() or not genes:
            form = "name, description and genes" if is_gmt else "a name and genes separated by spaces"
            raise UserError(
                f"{file} has in line {number} {line[:60]!r}, but each line is {form}, separated by tabs, or "
                "the file is a table with the header cluster,gene; correct it, it may be cut short"
            )
        if parts[0] in sets:
            raise UserError(
                f"{file} names the set {parts[0]!r} twice (line {number}), but a set has one line; rename or "
                "join them"
            )
        sets[parts[0]] = genes
    return sets


def _from_members(
    numbered: list[tuple[int, str]], *, separator: str, header: list[str], file: Path
) -> dict[str, list[str]]:
    columns = [header.index(name) for name in _HEADER]
    sets: dict[str, list[str]] = {}
    for number, line in numbered:
        parts = [part.strip().strip('"') for part in line.split(separator)]
        if len(parts) != len(header) or not all(parts[column] for column in columns):
            raise UserError(
                f"{file} has in line {number} {line[:60]!r}, but each line has {len(header)} columns with a "
                "cluster and a gene; complete or remove it, the file may be cut short"
            )
        sets.setdefault(parts[columns[0]], []).append(parts[columns[1]])
    if not sets:
        raise UserError(f"{file} has a header and no rows, but gene sets are needed; write it again")
    return sets


def _sorted(genes: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(genes)))
