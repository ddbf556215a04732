"""The verb `benchmark annotations`: an official file becomes a pair table with its provenance and counts."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from phenoscale.benchmarks.relations.annotation_formats import (
    ParsedFile,
    ReadOptions,
    SourceName,
    parse_annotation_file,
    read_names,
)
from phenoscale.benchmarks.relations.annotations import AnnotationSource, make_source, read_pairs, source_name
from phenoscale.benchmarks.relations.config import AnnotationsConfig
from phenoscale.config import require
from phenoscale.errors import UserError
from phenoscale.files import write_atomic
from phenoscale.schema.maps import read_map
from phenoscale.schema.rows import Row, RowTable, canonical_setting
from phenoscale.storage import check_output_file, digest_file

LICENSES: Final[Mapping[SourceName, str]] = {
    "corum": "CC BY-NC 4.0",
    "humap": "CC BY 4.0",
    "reactome": "CC0 1.0",
    "signor": "CC BY-NC 4.0",
    "string": "CC BY 4.0",
    "pairs": "",
}
_STRING_ABOVE = 0.95
_VERSION = re.compile(r"v\d+(?:\.\d+)*|\d{6,8}(?!\d)")


@dataclass(frozen=True)
class Renamed:
    """Pairs with current symbols.

    Attributes:
        pairs: as given, with aliases replaced.
        num_renamed: different names that were replaced.
        num_ambiguous: different names that stand for several symbols, and stayed.
    """

    pairs: list[tuple[str, str]]
    num_renamed: int
    num_ambiguous: int


def run_annotations(config: AnnotationsConfig) -> RowTable:
    """Import one source: write the pairs and, beside them, `PAIRS.csv.json`.

    Raises:
        UserError: no file, an output that cannot be written, another checksum, or what
            `parse_annotation_file` refuses.
    """
    file = Path(require(config, "path", verb="benchmark annotations"))
    output = Path(require(config, "output", verb="benchmark annotations"))
    for written in (output, _provenance_file(output)):
        check_output_file(str(written), inputs=(str(file), config.names, config.aliases, config.map))
    parsed = parse_annotation_file(file, source=config.source, options=_options(config))
    digest = digest_file(file)
    if config.sha256 and config.sha256.lower() != digest:
        raise UserError(f"{file} has the SHA-256 {digest}, not {config.sha256}; download it again")
    renamed = rename(parsed.pairs, aliases=read_aliases(config.aliases) if config.aliases else {})
    found = make_source(source_name(output), renamed.pairs)
    counts = {
        **_counts(parsed, renamed=renamed, found=found),
        **(_overlap(found, config.map) if config.map else {}),
    }
    provenance = {
        "source": config.source,
        "name": found.name,
        "file": file.name,
        "sha256": digest,
        "version": config.version or _version(file),
        "license": config.license or LICENSES[config.source],
    }
    write_atomic(output, _csv(found))
    above = _above(config)
    settings = {
        "above": above if above >= 0 else None,
        "organism": config.organism,
        "aliases": Path(config.aliases).name,
    }
    document = {**provenance, "settings": settings, "counts": counts}
    write_atomic(_provenance_file(output), (json.dumps(document, indent=1) + "\n").encode())
    setting = canonical_setting(**provenance, **settings)
    return RowTable(
        Row("annotations", found.name, metric, setting, value, n=parsed.num_rows)
        for metric, value in counts.items()
    )


def rename(pairs: Any, *, aliases: Mapping[str, tuple[str, ...]]) -> Renamed:
    """Replace the names that are an alias of one symbol; a name that is a symbol itself stays.

    Args:
        pairs: of names.
        aliases: symbols of each alias.
    """
    symbols = {symbol for each in aliases.values() for symbol in each}
    known = {name for pair in pairs for name in pair}
    outdated = {name for name in known if name in aliases and name not in symbols}
    current = {name: aliases[name][0] for name in outdated if len(aliases[name]) == 1}
    replaced = [(current.get(a, a), current.get(b, b)) for a, b in pairs]
    return Renamed(replaced, len(current), len(outdated) - len(current))


def read_aliases(path: str | Path) -> dict[str, tuple[str, ...]]:
    """Read a CSV with alias,symbol: the symbols of each alias.

    Raises:
        UserError: a missing or unreadable file, another header, or an empty cell.
    """
    found: defaultdict[str, set[str]] = defaultdict(set)
    for alias, symbol in read_pairs(path, columns=("alias", "symbol")).tolist():
        found[alias].add(symbol)
    return {alias: tuple(sorted(each)) for alias, each in found.items()}


def _options(config: AnnotationsConfig) -> ReadOptions:
    return ReadOptions(
        above=_above(config),
        organism=config.organism,
        columns=config.columns,
        names=read_names(config.names) if config.names else {},
    )


def _above(config: AnnotationsConfig) -> float:
    """Where no threshold is given a score of zero is kept as well."""
    if config.above is not None:
        return config.above
    return _STRING_ABOVE if config.source == "string" else -1.0


def _counts(parsed: ParsedFile, *, renamed: Renamed, found: AnnotationSource) -> dict[str, int]:
    return {
        "num_pairs": len(found),
        "num_entities": len(found.entities),
        "num_rows": parsed.num_rows,
        "num_self_pairs": sum(a == b for a, b in renamed.pairs),
        "num_renamed": renamed.num_renamed,
        "num_ambiguous_aliases": renamed.num_ambiguous,
        **{f"excluded_{reason}": count for reason, count in parsed.excluded.items()},
    }


def _overlap(found: AnnotationSource, map_path: str) -> dict[str, int]:
    names = np.unique(read_map(map_path).entities)
    return {
        "num_pairs_in_map": int(np.isin(found.pairs, names).all(axis=1).sum()),
        "num_entities_in_map": int(np.isin(found.entities, names).sum()),
    }


def _provenance_file(output: Path) -> Path:
    return output.with_name(f"{output.name}.json")


def _version(file: Path) -> str:
    """What looks like a release in the file's name: `v12.0`, `20200809`."""
    found = _VERSION.search(file.name)
    return found.group() if found else ""


def _csv(found: AnnotationSource) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["entity1", "entity2"])
    writer.writerows(found.pairs.tolist())
    return text.getvalue().encode()
