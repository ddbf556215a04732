"""Settings of the proximity-bias score."""

from __future__ import annotations

from pydantic import model_validator

from phenoscale.benchmarks.config import ENOUGH_RESAMPLES, refuse_few_resamples
from phenoscale.config import Config, Runtime, location, setting


class ProximityConfig(Config):
    """Proximity bias: are genes of one chromosome arm more similar than genes of different arms?

    The probability that a pair inside an arm has the larger cosine, ties half: .5 without bias. One row for
    the map, with pairs inside each arm in proportion to their number, and one for each arm against its pairs
    with other arms.
    """

    map: str = location("", help="map folder, or a Parquet with `perturbation` and `embedding`")
    genes: str = location("", help="CSV with gene and arm")
    min_genes: int = setting(6, ge=2, help="genes that an arm needs")
    min_pairs: int = setting(21, ge=1, help="pairs inside an arm that the arm's own row needs")
    max_pairs: int = setting(20_000, ge=100, help="pairs drawn inside arms, and as many across")
    num_resamples: int = setting(200, ge=0, help=ENOUGH_RESAMPLES)
    seed: int = setting(0, ge=0, help="seed of everything that is drawn")
    runtime: Runtime = Runtime()

    @model_validator(mode="after")
    def _usable(self) -> ProximityConfig:
        refuse_few_resamples(self.num_resamples)
        return self
