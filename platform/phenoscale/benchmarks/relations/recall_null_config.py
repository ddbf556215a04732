"""Settings of the permutation test of recall."""

from __future__ import annotations

from pydantic import model_validator

from phenoscale.benchmarks.config import refuse_crossed_tails
from phenoscale.config import Config, Runtime, location, setting


class RecallNullConfig(Config):
    """Permutation test of recall: are these pairs recalled more than the same graph over exchanged genes?

    The names of the annotated genes are exchanged at random and recall is read again; p = (b + 1) / (B + 1)
    where b of B permutations recall at least as much. With `genes` names are exchanged inside a chromosome
    arm only, so that what proximity bias recalls is recalled by the permutations as well.
    """

    map: str = location("", help="map folder, or a Parquet with `perturbation` and `embedding`")
    annotations: tuple[str, ...] = location((), help="CSV with entity1,entity2; may be repeated")
    lower: float = setting(0.05, ge=0, le=1, help="share of all pairs in the lower tail")
    upper: float = setting(0.95, ge=0, le=1, help="share of all pairs below the upper tail")
    genes: str = location("", help="CSV with gene and arm, to exchange genes of one arm only")
    num_permutations: int = setting(1000, ge=1, help="permutations; the smallest p is 1 / (this + 1)")
    seed: int = setting(0, ge=0, help="seed of the permutations")
    runtime: Runtime = Runtime()

    @model_validator(mode="after")
    def _tails(self) -> RecallNullConfig:
        refuse_crossed_tails(self.lower, self.upper)
        return self
