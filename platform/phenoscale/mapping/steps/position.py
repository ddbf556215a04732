"""Remove smooth plate-position effects: least squares on row and column terms, pooled over plates.

Both sides of the regression are centered within each plate, so that differences between plates do not enter.
Shapes: N wells, D dimensions, T terms, B batches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pandas as pd

from phenoscale.config import setting
from phenoscale.errors import UserError
from phenoscale.mapping.batches import batch_labels, batch_positions, chosen_wells, rows_by_label
from phenoscale.mapping.steps.step import BATCH_HELP, STATISTICS_HELP, BatchKey, Statistics, WellStep
from phenoscale.schema.addresses import split_address
from phenoscale.schema.columns import Embeddings
from phenoscale.schema.readable import listed_columns
from phenoscale.stats.moments import Array, row_blocks

_LEAST_CONDITION = 1e-8


Term = Literal["row", "row_squared", "column", "column_squared", "ring", "edge"]


class PositionStep(WellStep):
    """Subtract a smooth effect of the plate position, fitted on wells after centering them plate by plate."""

    name: Literal["position"] = "position"
    batch_key: BatchKey = setting("none", help=BATCH_HELP)
    statistics: Statistics = setting("negative_controls", help=STATISTICS_HELP)
    terms: tuple[Term, ...] = setting(
        ("row", "row_squared", "column", "column_squared", "edge"),
        min_length=1,
        help="terms of the position: linear and squared row and column, ring (square of the larger distance "
        "from the center, by row or column), edge (1 in the outermost rows and columns)",
    )

    def fit(self, embeddings_ND: Embeddings, wells: pd.DataFrame) -> Position:
        """Fit the step on wells."""
        return fit_position(embeddings_ND, wells, step=self)


@dataclass(frozen=True)
class Extent:
    """The outermost rows and columns that a screen uses, 0-based and inclusive."""

    first_row: int
    last_row: int
    first_column: int
    last_column: int


@dataclass(frozen=True)
class Position:
    """Fitted position effects of each batch.

    Attributes:
        batch_key: what a batch is.
        batches: their names; row i of the arrays is batch i.
        terms: names of the terms.
        extent: the part of the plate that is used.
        centers: [B, T] mean of the terms over the fitted wells.
        effects: [B, T, D].
    """

    name: ClassVar[str] = "position"
    batch_key: str
    batches: tuple[str, ...]
    terms: tuple[str, ...]
    extent: Extent
    centers: Array
    effects: Array

    def transform(self, embeddings_ND: Embeddings, wells: pd.DataFrame) -> Embeddings:
        """Map vectors of wells; their type is kept, the arithmetic is float64."""
        known = {batch: index for index, batch in enumerate(self.batches)}
        index_N = batch_positions(batch_labels(wells, self.batch_key), known=known, step=self.name)
        terms_NT = position_terms(wells, terms=self.terms, extent=self.extent) - self.centers[index_N]
        mapped = np.empty_like(embeddings_ND)
        for index in range(len(self.batches)):
            of_batch = np.flatnonzero(index_N == index)
            for block in row_blocks(len(of_batch)):
                rows = of_batch[block]
                mapped[rows] = embeddings_ND[rows] - terms_NT[rows] @ self.effects[index]
        return mapped

    def parameters(self) -> dict[str, Array]:
        """The fitted arrays."""
        edges = [
            self.extent.first_row,
            self.extent.last_row,
            self.extent.first_column,
            self.extent.last_column,
        ]
        return {"centers": self.centers, "effects": self.effects, "extent": np.array(edges, np.float64)}


def fit_position(embeddings_ND: Embeddings, wells: pd.DataFrame, *, step: PositionStep) -> Position:
    """Fit on the chosen wells.

    Raises:
        UserError: the chosen wells stand in too few places to tell the terms apart.
    """
    chosen = chosen_wells(wells, step.statistics, step=step.name)
    extent = used_extent(wells)
    terms_NT = position_terms(wells, terms=step.terms, extent=extent)
    by_batch = rows_by_label(batch_labels(wells, step.batch_key))
    plates = batch_labels(wells, "plate", needed_by="position", way_out="leave the step out")
    centers, effects = [], []
    for batch, rows in by_batch.items():
        fitted = rows[chosen[rows]]
        gram, product = np.zeros((len(step.terms),) * 2), np.zeros((len(step.terms), embeddings_ND.shape[1]))
        for of_plate in rows_by_label(plates[fitted]).values():
            on_plate = fitted[of_plate]
            centered = terms_NT[on_plate] - terms_NT[on_plate].mean(axis=0)
            gram += centered.T @ centered
            # The terms are centered, so the plate's mean of the embeddings drops out of the product.
            product += centered.T @ embeddings_ND[on_plate].astype(np.float64)
        _refuse_unsolvable(gram, wells.iloc[fitted], batch=batch, step=step)
        centers.append(terms_NT[fitted].mean(axis=0))
        effects.append(np.linalg.solve(gram, product))
    return Position(
        batch_key=step.batch_key,
        batches=tuple(by_batch),
        terms=step.terms,
        extent=extent,
        centers=np.stack(centers),
        effects=np.stack(effects),
    )


def used_extent(wells: pd.DataFrame) -> Extent:
    """The outermost rows and columns of a table of wells."""
    places = plate_places(wells)
    (first_row, first_column), (last_row, last_column) = places.min(axis=0), places.max(axis=0)
    return Extent(int(first_row), int(last_row), int(first_column), int(last_column))


def plate_places(wells: pd.DataFrame) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """0-based row and column of each well, [N, 2].

    Raises:
        UserError: no `well` column, or an address that is not on a plate.
    """
    if "well" not in wells:
        raise UserError(
            f"the embeddings have {listed_columns(wells.columns)}, but plate positions need `well` (such "
            "as B02); "
            "embed a table that has it"
        )
    addresses = wells["well"].astype(str)
    known = {address: split_address(address) for address in addresses.unique()}
    return np.array([known[address] for address in addresses], np.int64).reshape(-1, 2)


def position_terms(wells: pd.DataFrame, *, terms: tuple[str, ...], extent: Extent) -> Array:
    """The terms of each well, [N, T]; rows and columns run from -1 to 1 over the used part of the plate."""
    places = plate_places(wells)
    row = _from_center(places[:, 0], extent.first_row, last=extent.last_row)
    column = _from_center(places[:, 1], extent.first_column, last=extent.last_column)
    return np.stack([_TERMS[term](row, column) for term in terms], axis=1)


_TERMS: dict[str, Callable[[Array, Array], Array]] = {
    "row": lambda row, column: row,
    "row_squared": lambda row, column: row**2,
    "column": lambda row, column: column,
    "column_squared": lambda row, column: column**2,
    "ring": lambda row, column: np.maximum(np.abs(row), np.abs(column)) ** 2,
    "edge": lambda row, column: (np.maximum(np.abs(row), np.abs(column)) >= 1).astype(np.float64),
}


def _from_center(values: np.ndarray[tuple[int], np.dtype[np.int64]], first: int, *, last: int) -> Array:
    return (2 * values - (first + last)) / max(last - first, 1)


def _refuse_unsolvable(gram_TT: Array, fitted: pd.DataFrame, *, batch: str, step: PositionStep) -> None:
    scale = np.sqrt(np.diagonal(gram_TT))
    if (scale > 0).all():
        values = np.linalg.eigvalsh(gram_TT / np.outer(scale, scale))
        if values[0] > _LEAST_CONDITION:
            return
    places = fitted["well"].nunique()
    raise UserError(
        f"position cannot tell the terms {list(step.terms)} apart from {len(fitted)} wells in {places} "
        "places "
        f"(batch {batch}); use fewer terms, a coarser batch_key, or statistics: all"
    )
