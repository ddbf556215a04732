"""Profile tables as pycytominer writes them, one file a plate: `Metadata_*` columns, and features.

Files are joined by the features that all of them have. An embedding table is read as profiles as well.
Shapes: N rows, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from phenoscale.errors import UserError
from phenoscale.logs import get_logger, key_values
from phenoscale.mapping.steps.aggregate import average
from phenoscale.schema.columns import EMBEDDING, read_parquet, split_embeddings
from phenoscale.schema.embeddings import partition_files, read_embeddings, refuse_rows_twice, table_of_level
from phenoscale.schema.keys import KEY_OF, PLATE_KEY, WELL_KEY
from phenoscale.schema.labels import short_labels, with_screen
from phenoscale.schema.readable import listed_columns, readable
from phenoscale.stats.cosines import unit_rows

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.intp]
Labels = npt.NDArray[np.str_]

logger = get_logger(__name__)

METADATA = "Metadata_"
_SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
_SUFFIXES = (".csv.gz", ".csv", ".tsv.gz", ".tsv", ".parquet")


@dataclass(frozen=True)
class Profiles:
    """Profiles and what is known of them.

    Attributes:
        frame: [N] metadata as text, "" where missing.
        vectors: [N, D].
        features: [D] names.
        source: where they come from, for messages.
        dropped_features: names of those that some file lacked, left out of all.
        encoder: digest of the encoder, where they are its embeddings.
    """

    frame: pd.DataFrame
    vectors: Array
    features: list[str]
    source: str
    dropped_features: frozenset[str] = frozenset()
    encoder: str = ""

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def settings(self) -> dict[str, int]:
        """What a row's setting says of the features: how many were left out, where any was."""
        return {"dropped_features": len(self.dropped_features)} if self.dropped_features else {}

    def column(self, name: str, *, purpose: str) -> Labels:
        """One metadata column as text; plates and experiments with what tells those of equal names apart.

        Raises:
            UserError: there is none of that name.
        """
        if name not in self.frame:
            raise UserError(
                f"{self.source} has {listed_columns(self.frame.columns)}, but {purpose} needs `{name}`; "
                "name the column that holds it"
            )
        for named in (str, metadata_name):
            for column in PLATE_KEY[1:]:
                if name == named(column):
                    held = {key: self.frame.get(named(key), "") for key in KEY_OF[column]}
                    return short_labels(pd.DataFrame(held, index=self.frame.index), column)
        return self.frame[name].to_numpy(dtype=np.str_)

    def select(self, rows: Mask | Positions) -> Profiles:
        """The given rows."""
        return replace(self, frame=self.frame.iloc[_positions(rows)].reset_index(drop=True),
                       vectors=self.vectors[rows])  # fmt: skip

    def with_column(self, name: str, values: Sequence[str]) -> Profiles:
        """The same rows with one more metadata column."""
        return replace(self, frame=self.frame.assign(**{name: list(values)}))

    def named(self, rows: Mask) -> str:
        """The first of some rows for a message: plates and wells where the table has them, else numbers."""
        first = np.flatnonzero(rows)[:5]
        for key in _well_keys(self.frame):
            return f"wells {self.frame.iloc[first][key].agg('/'.join, axis=1).tolist()}"
        return f"rows {first.tolist()}"

    def units(self) -> Array:
        """Vectors of unit length.

        Raises:
            UserError: a vector is zero, so that it has no cosine.
        """
        units, is_zero = unit_rows(self.vectors)
        if is_zero.any():
            raise UserError(
                f"{self.source} holds {int(is_zero.sum())} zero vectors ({self.named(is_zero)}), but a zero "
                "vector has no cosine; remove these rows"
            )
        return units


def read_profiles(place: str) -> Profiles:
    """Read every file that a glob finds, or an embedding table.

    Raises:
        UserError: no file, a broken one, no common feature, NaN or text in a feature, or a well twice.
    """
    if Path(place).is_dir():
        return _of_embeddings(place)
    files = _matching(place)
    if not files:
        raise UserError(
            f"no file matches {place!r}, but profile tables are needed; quote the glob and check the path"
        )
    tables = [_read_file(file) for file in files]
    kept = _shared_features([table.features for table in tables], place=place)
    dropped = _dropped_features(files, tables, kept=kept)
    vectors = np.concatenate([table.read_features(kept) for table in tables])
    frame = with_screen(pd.concat([table.metadata for table in tables], ignore_index=True).fillna(""))
    for key in _well_keys(frame):
        refuse_rows_twice(frame, key, source=place, row="well")
    return Profiles(frame, vectors, kept, source=place, dropped_features=dropped)


def consensus(profiles: Profiles, *, by: str) -> Profiles:
    """One median profile for each value of a column, with the metadata of its first row, sorted by it."""
    names, codes = np.unique(profiles.column(by, purpose="the consensus"), return_inverse=True)
    del names
    first = np.unique(codes, return_index=True)[1]
    medians = average(profiles.vectors, codes_N=codes, method="median")
    return replace(profiles.select(first), vectors=medians.astype(np.float64))


def join_profiles(first: Profiles, second: Profiles) -> Profiles:
    """Rows of both, with the features that both have.

    Raises:
        UserError: they have none in common.
    """
    kept = _shared_features([first.features, second.features], place=f"{first.source}, {second.source}")
    known = {*first.features, *second.features, *first.dropped_features, *second.dropped_features}
    parts = [part.vectors[:, pd.Index(part.features).get_indexer(pd.Index(kept))] for part in (first, second)]
    return Profiles(
        pd.concat([first.frame, second.frame], ignore_index=True).fillna(""),
        np.concatenate(parts),
        kept,
        source=f"{first.source}, {second.source}",
        dropped_features=frozenset(known.difference(kept)),
    )


def label_sets(labels_N: Labels, *, separator: str = "|") -> list[frozenset[str]]:
    """Labels of each row: what stands between separators; an empty separator splits nothing."""
    texts = labels_N.tolist()
    parts = [text.split(separator) if separator else [text] for text in texts]
    return [frozenset(name.strip() for name in part if name.strip()) for part in parts]


def negative_controls(profiles: Profiles, *, column: str, value: str) -> Mask:
    """Which rows hold the value in the control column, in any case of its letters.

    Raises:
        UserError: no row does.
    """
    found = profiles.column(column, purpose="finding negative controls")
    is_control = np.char.lower(found) == value.lower()
    if not is_control.any():
        raise UserError(
            f"{profiles.source} has no negative control: no row holds {value!r} in `{column}`, which has "
            f"{sorted(set(found.tolist()))[:8]}; name the value or the column that marks them"
        )
    return np.asarray(is_control, np.bool_)


def read_targets(place: str, *, beside: str, column: str) -> dict[str, str]:
    """Targets of each compound from a table with broad_sample and target_list (with or without Metadata_).

    Without a place the only such table in the folder of the profiles is taken.

    Raises:
        UserError: no such table, several, or one without these columns.
    """
    name, key = column.removeprefix(METADATA), "broad_sample"
    if place:
        table = _targets_in(Path(place), columns=(key, name))
        if table is None:
            raise UserError(
                f"{place} is not a table with the columns {key} and {name}, but targets are needed; "
                "give the compound metadata of the plates"
            )
        return table
    folder = Path(beside).parent
    files = sorted(file for suffix in (".tsv", ".csv", ".txt") for file in folder.glob(f"*compound*{suffix}"))
    found = {file: table for file in files if (table := _targets_in(file, columns=(key, name))) is not None}
    if len(found) != 1:
        raise UserError(
            f"the profiles have no column `{column}`, and {len(found)} tables with {key} and {name} lie in "
            f"{folder}, but the targets of compounds are needed; give one with --targets"
        )
    return next(iter(found.values()))


def _refuse_folder_of_tables(folder: Path) -> None:
    """Where a folder is no embedding table and holds tables of profiles, a glob was meant."""
    for suffix in _SUFFIXES:
        found = [file for file in folder.glob(f"*{suffix}") if file.is_file()]
        if found:
            raise UserError(
                f"{folder} is a folder with {len(found)} files *{suffix}, but a folder is read as an output "
                f"of `embed`; give the profile tables in it as a glob: '{folder}/*{suffix}'"
            )


def _matching(pattern: str) -> list[Path]:
    path = Path(pattern)
    if path.is_file():
        return [path]
    root = Path(path.anchor)
    return sorted(file for file in root.glob(str(path.relative_to(path.anchor))) if file.is_file())


@dataclass(frozen=True)
class _Table:
    """One file: its metadata, its features' names, and how to read these."""

    metadata: pd.DataFrame
    features: list[str]
    read_features: Callable[[list[str]], Array]


def _read_file(file: Path) -> _Table:
    if file.suffix == ".parquet":
        arrow = read_parquet(file)
        if EMBEDDING in arrow.column_names:
            frame, vectors = split_embeddings(arrow, source=str(file))
            return _table(frame, pd.DataFrame(vectors, columns=_embedding_names(vectors.shape[1])), file=file)
        frame = arrow.to_pandas()
    else:
        frame = _read_text(file)
    is_metadata = [str(name).startswith(METADATA) for name in frame.columns]
    if not any(is_metadata) or all(is_metadata):
        raise UserError(
            f"{file} has {sum(is_metadata)} columns that start with {METADATA} of {len(is_metadata)}, but a "
            "profile table has such columns and features; rename the columns that are no features"
        )
    return _table(frame.loc[:, is_metadata], frame.loc[:, [not flag for flag in is_metadata]], file=file)


def _table(metadata: pd.DataFrame, features: pd.DataFrame, *, file: Path) -> _Table:
    text = metadata.astype(object).where(metadata.notna(), "").astype(str)
    names = [str(name) for name in features.columns]
    return _Table(text, names, partial(_numbers, features, source=str(file)))


def _numbers(features: pd.DataFrame, names: list[str], *, source: str) -> Array:
    if not len(features):
        raise UserError(f"{source} has a header and no rows, but profiles are needed; write it again")
    kinds = features[names].dtypes
    texts = [name for name in names if not pd.api.types.is_numeric_dtype(kinds[name])]
    if texts:
        raise UserError(
            f"{source} holds text in the features {texts[:5]}, but features are numbers; columns that are no "
            f"features must start with {METADATA}"
        )
    values = features[names].to_numpy(np.float64)
    broken = ~np.isfinite(values)
    if broken.any():
        rows, columns = np.nonzero(broken)
        raise UserError(
            f"{source} has NaN or infinite values in {len(set(rows.tolist()))} of {len(values)} rows "
            f"(such as row {rows[0]}, {names[columns[0]]}), but every feature must be finite; the file "
            "may be cut short: drop these features or rows"
        )
    return values


def _read_text(file: Path, **options: Any) -> pd.DataFrame:
    suffix = Path(file.name.removesuffix(".gz")).suffix
    if suffix not in _SEPARATORS:
        raise UserError(f"{file} is no table that can be read; write csv, csv.gz, tsv or parquet")
    with readable(
        file, holds="a table of profiles", kind="a readable table", way_out="write or copy it again"
    ):
        head = pd.read_csv(file, sep=_SEPARATORS[suffix], nrows=0)
        texts: dict[str, Any] = {name: str for name in head.columns if str(name).startswith(METADATA)}
        frame: pd.DataFrame = pd.read_csv(file, sep=_SEPARATORS[suffix], dtype=texts, **options)
    return frame


def _shared_features(features: Sequence[list[str]], *, place: str) -> list[str]:
    shared = set(features[0]).intersection(*features[1:])
    if not shared:
        raise UserError(
            f"the {len(features)} tables of {place!r} have no feature in common, but profiles are "
            "compared by common features; give tables of one pipeline"
        )
    return [name for name in features[0] if name in shared]


def _dropped_features(files: list[Path], tables: list[_Table], *, kept: list[str]) -> frozenset[str]:
    """Features that some file lacks, with a warning for each such file."""
    known = {name for table in tables for name in table.features}
    for file, table in zip(files, tables, strict=True):
        missing = len(known) - len(set(table.features))
        if missing:
            named = table.metadata.get(metadata_name("plate"), pd.Series(dtype=str))
            plates = "+".join(named.unique()[:3].tolist())
            line = key_values(event="features left out of all files", file=file.name, plate=plates,
                              missing=missing, of=len(known))  # fmt: skip
            logger.warning("%s", line)
    return frozenset(known.difference(kept))


def metadata_name(column: str) -> str:
    """The name of one of our columns in a profile table: `Metadata_Plate`."""
    return METADATA + column.capitalize()


def _well_keys(frame: pd.DataFrame) -> Iterator[list[str]]:
    """Columns that tell wells apart; a profile table may leave out what holds its plates."""
    theirs = [metadata_name(column) for column in WELL_KEY]
    for key, needed in ((theirs, theirs[-2:]), (list(WELL_KEY), WELL_KEY)):
        if set(needed) <= set(frame.columns):
            yield [name for name in key if name in frame]


def _of_embeddings(place: str) -> Profiles:
    folder = table_of_level(place, level="well")
    if not partition_files(folder):
        _refuse_folder_of_tables(folder)
    table = read_embeddings(folder)
    text = table.frame.astype(object).where(table.frame.notna(), "").astype(str)
    vectors = table.embeddings.astype(np.float64)
    names = _embedding_names(vectors.shape[1])
    return Profiles(text.reset_index(drop=True), vectors, names, source=place, encoder=table.encoder)


def _embedding_names(num_dimensions: int) -> list[str]:
    return [f"{EMBEDDING}_{number}" for number in range(num_dimensions)]


def _targets_in(file: Path, *, columns: tuple[str, str]) -> dict[str, str] | None:
    """Second column by the first, None where the table lacks them."""
    frame = _read_text(file, keep_default_na=False)
    by_name = {str(name).removeprefix(METADATA): name for name in frame.columns}
    if not set(columns) <= set(by_name):
        return None
    keys, values = (frame[by_name[name]].astype(str).tolist() for name in columns)
    return dict(zip(keys, values, strict=True))


def _positions(rows: Mask | Positions) -> Positions:
    return np.flatnonzero(rows) if rows.dtype == np.bool_ else np.asarray(rows, np.intp)
