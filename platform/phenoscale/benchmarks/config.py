"""Settings of the stage: the benchmarks of several encoders, before and after correction."""

from __future__ import annotations

from phenoscale.benchmarks.relations.config import RecallConfig
from phenoscale.benchmarks.settings import GENE_ARMS, PAIRS, SEED
from phenoscale.benchmarks.wells.config import BatchEffectConfig, ConsistencyConfig, MoaConfig
from phenoscale.config import Config, Runtime, location, setting


class BenchmarkConfig(Config):
    """Score maps and embeddings of several encoders with everything that the inputs allow.

    Recall of each map and of the map after each of its steps, and of the oracle; replicate consistency;
    mechanism of action where the wells have a `moa` column; batch effects before and after correction. What
    is skipped is a row that says why. A benchmark without a section here runs with its own defaults.
    """

    maps: dict[str, str] = location(default_factory=dict, help="map folders, by name of the encoder")
    embeddings: dict[str, str] = location(
        default_factory=dict, help="uncorrected embeddings, by the same names"
    )
    annotations: tuple[str, ...] = location((), help=PAIRS)
    oracle: str = location("", help="map of the planted latents, where the answer is known")
    genes: str = location("", help=GENE_ARMS)
    reference: str = setting(
        "trained", help="encoder whose recall is compared with the others', pair by pair"
    )
    recall: RecallConfig = RecallConfig()
    consistency: ConsistencyConfig = ConsistencyConfig()
    moa: MoaConfig = MoaConfig()
    batch_effect: BatchEffectConfig = BatchEffectConfig()
    seed: int = setting(0, ge=0, help=SEED)
    runtime: Runtime = Runtime()
