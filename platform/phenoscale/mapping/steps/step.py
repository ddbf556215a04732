"""What every step of a map has: settings with a name, where it stands, and how it is fitted."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from phenoscale.config import Config, setting

if TYPE_CHECKING:
    import pandas as pd

    from phenoscale.mapping.config import MapConfig
    from phenoscale.schema.columns import Embeddings
    from phenoscale.schema.embeddings import EmbeddingTable
    from phenoscale.schema.maps import PerturbationMap
    from phenoscale.stats.moments import Array

BatchKey = Literal["experiment", "plate", "none"]
Statistics = Literal["negative_controls", "all"]
Fallback = Literal["error", "pooled"]

STATISTICS_HELP: Final = "wells that the statistics are fitted on: negative_controls, or all wells"
BATCH_HELP: Final = (
    "one fit per experiment, per plate (of an experiment), or none for one fit over everything"
)
MIN_CONTROLS_HELP: Final = "fewest wells that a batch's own statistics may rest on"
FALLBACK_HELP: Final = (
    "a batch with too few wells: error, or pooled: its mean is the experiment's, and that of the whole table "
    "where the experiment has too few as well; scales and covariances are those pooled over batches"
)


class Fitted(Protocol):
    """A step after fitting."""

    def parameters(self) -> dict[str, Array]:
        """The fitted arrays, kept with the map."""


class FittedWellStep(Fitted, Protocol):
    """A fitted step of wells."""

    def transform(self, embeddings_ND: Embeddings, wells: pd.DataFrame) -> Embeddings:
        """Map vectors of wells, [N, D]."""


class FittedAggregate(Fitted, Protocol):
    """A fitted way from wells to perturbations."""

    def transform(self, table: EmbeddingTable) -> PerturbationMap:
        """Average wells into perturbations."""


class FittedMapStep(Fitted, Protocol):
    """A fitted step of perturbations."""

    def transform(self, perturbation_map: PerturbationMap) -> PerturbationMap:
        """Map vectors of perturbations."""


class Step(Config):
    """The settings of one step; `name` chooses it."""

    name: str = setting(help="which step")

    @property
    def gene_columns(self) -> tuple[str, ...]:
        """The columns of the gene table that the step reads; none for a step that reads no gene table."""
        return ()

    def remarks(self, fitted: Any) -> tuple[dict[str, Any], list[str]]:
        """Further entries of the step's record in `map.json`, and warnings for a person."""
        fallbacks: Mapping[str, str] = getattr(fitted, "fallbacks", {})
        if not fallbacks:
            return {}, []
        shown = ", ".join(f"{batch}: {used}" for batch, used in list(fallbacks.items())[:5])
        warning = (
            f"{self.name}: {len(fallbacks)} batches have too few negative controls and use the statistics of "
            f"others ({shown})"
        )
        return {"fallbacks": dict(fallbacks)}, [warning]


class WellStep(Step):
    """A step of wells: it stands before `aggregate`."""

    @abstractmethod
    def fit(self, embeddings_ND: Embeddings, wells: pd.DataFrame) -> FittedWellStep:
        """Fit the step on wells, one row each."""


class AggregationStep(Step):
    """The step from wells to perturbations; a map has one."""

    @abstractmethod
    def fit(self, table: EmbeddingTable, *, config: MapConfig) -> FittedAggregate:
        """Fit the step on wells; `config` says what stays out of the map."""


class MapStep(Step):
    """A step of perturbations: it stands after `aggregate`."""

    @abstractmethod
    def fit(self, perturbation_map: PerturbationMap, genes: pd.DataFrame) -> FittedMapStep:
        """Fit the step on a map; `genes` has the columns that `gene_columns` names."""
