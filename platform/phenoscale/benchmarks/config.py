"""Settings of the benchmarks: one config per sub-verb, and one for all of them over several encoders."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from phenoscale.config import Config, Runtime, location, setting
from phenoscale.errors import UserError

Target = Literal["plate", "experiment", "quadrant", "edge"]
Wells = Literal["negative_controls", "all"]

MIN_RESAMPLES = 100
ENOUGH_RESAMPLES = f"bootstrap resamples behind each interval, at least {MIN_RESAMPLES}; 0: no intervals"
_RESAMPLES = "bootstrap resamples behind each interval; 0: no intervals"
_SEED = "seed of everything that is drawn"
_EMBEDDINGS = "wells: output of `embed` or `map`, or any embedding table"
_GENES = "CSV with gene and arm"


def refuse_crossed_tails(lower: float, upper: float) -> None:
    """Refuse tails that overlap."""
    if lower >= upper:
        raise UserError(
            f"lower is {lower} and upper {upper}, but the tails must not meet; choose lower < upper, such "
            "as .05, .95"
        )


def refuse_unusable_curve(curve: tuple[float, ...]) -> None:
    """Refuse tails p for which (p, 1 - p) leaves no middle."""
    wrong = [tail for tail in curve if not 0 < tail < 0.5]
    if wrong:
        raise UserError(
            f"curve holds {wrong}, but each p is scored at (p, 1 - p), so it lies between 0 and 0.5; try 0.1"
        )


def refuse_few_resamples(num_resamples: int) -> None:
    """Refuse resamples that are too few for the ends of a 95 % interval."""
    if 0 < num_resamples < MIN_RESAMPLES:
        raise UserError(
            f"num_resamples is {num_resamples}, but a 95 % interval needs at least {MIN_RESAMPLES}; give "
            "more, or 0 for no intervals"
        )


class RecallConfig(Config):
    """Known-relationship recall: how often annotated pairs lie in the tails of all pairwise cosines of a map.

    A pair counts when at most `lower` of all pairs are as similar or less, or at least `upper` are less
    similar. By chance that is lower + 1 - upper. Self pairs and duplicates are dropped; pairs outside the map
    are counted as excluded, and so are those of zero vectors. Compounds and controls stay out where the map
    has genes.
    """

    map: str = location("", help="map folder, or a Parquet with `perturbation` and `embedding`")
    annotations: tuple[str, ...] = location((), help="CSV with entity1,entity2; may be repeated")
    lower: float = setting(0.05, ge=0, le=1, help="share of all pairs in the lower tail")
    upper: float = setting(0.95, ge=0, le=1, help="share of all pairs below the upper tail")
    curve: tuple[float, ...] = setting((), help="further tails p < 0.5, each scored at (p, 1 - p)")
    by_number_of_sources: bool = setting(False, help="also the pairs that at least 1, 2, ... sources have")
    genes: str = location("", help=f"{_GENES}, for recall within and across chromosome arms")
    num_resamples: int = setting(1000, ge=0, help=ENOUGH_RESAMPLES)
    seed: int = setting(0, ge=0, help=_SEED)
    runtime: Runtime = Runtime()

    @model_validator(mode="after")
    def _usable(self) -> RecallConfig:
        refuse_crossed_tails(self.lower, self.upper)
        refuse_unusable_curve(self.curve)
        refuse_few_resamples(self.num_resamples)
        return self


class ConsistencyConfig(Config):
    """Replicate consistency: cosines of replicates against those of different perturbations.

    Kolmogorov-Smirnov and un-normalized Cramer-von Mises statistics, pooled and as the mean over
    perturbations. The second grows with the sample size: every row says n and m. Intervals of the pooled
    statistics are centered on the value.
    """

    embeddings: str = location("", help=_EMBEDDINGS)
    replicate: Literal["well", "guide"] = setting(
        "well", help="what a replicate is: a well, or the mean of a guide"
    )
    across: Literal["any", "plate", "experiment"] = setting(
        "any",
        help="compare replicates of any two wells, or only across plates or experiments; the null alike",
    )
    max_pairs: int = setting(20_000, ge=10, help="pairs in the pooled comparison")
    max_pairs_per_perturbation: int = setting(300, ge=3, help="pairs of one perturbation; more are sampled")
    min_pairs_per_perturbation: int = setting(
        3, ge=1, help="pairs that a perturbation needs; equal to the maximum: n and m are fixed"
    )
    num_resamples: int = setting(200, ge=0, help=_RESAMPLES)
    seed: int = setting(0, ge=0, help=_SEED)
    runtime: Runtime = Runtime()

    @model_validator(mode="after")
    def _pairs(self) -> ConsistencyConfig:
        least, most = self.min_pairs_per_perturbation, self.max_pairs_per_perturbation
        if least > most:
            raise UserError(
                f"min_pairs_per_perturbation is {least} and max_pairs_per_perturbation {most}, but no "
                "perturbation keeps more pairs than the maximum; lower the first or raise the second"
            )
        return self


class MoaConfig(Config):
    """Nearest-neighbor mechanism of action: does the most similar treatment of another compound share it?

    A treatment is a compound at a concentration; its vector is the mean over wells. NSC leaves out the same
    compound, NSCB also every treatment that shares an experiment.
    """

    embeddings: str = location("", help=_EMBEDDINGS)
    aggregate: Literal["mean", "median"] = setting("mean", help="over the wells of a treatment")
    standardize: bool = setting(
        True, help="z-score every dimension over all rows first, where the embeddings are not corrected"
    )
    min_crops: int = setting(3, ge=1, help="crops that a treatment needs, where the table counts them")
    seed: int = setting(0, ge=0, help=_SEED)
    runtime: Runtime = Runtime()


class BatchEffectConfig(Config):
    """Batch effect: how well plate, experiment and position are read from wells, and the arm from a map.

    Balanced accuracy of cross-validated logistic regression; near `chance` in the setting is good. Folds keep
    the perturbation (of all wells) and the experiment (for positions) out of the training part. Negative
    controls are tested by what was learned from the other wells.
    """

    embeddings: str = location("", help=_EMBEDDINGS)
    map: str = location("", help="map, for the chromosome arm")
    genes: str = location("", help=f"{_GENES}, for the chromosome arm")
    targets: tuple[Target, ...] = setting(
        ("plate", "experiment", "quadrant", "edge"), help="what is predicted"
    )
    wells: tuple[Wells, ...] = setting(("negative_controls", "all"), help="which wells it is predicted from")
    num_folds: int = setting(5, ge=2, help="folds of the cross-validation")
    inverse_regularization: float = setting(0.01, gt=0, help="C of the logistic regression")
    max_classes: int = setting(40, ge=2, help="plates or arms that are told apart; more are sampled")
    max_wells: int = setting(4000, ge=20, help="wells used; more are sampled")
    num_resamples: int = setting(400, ge=0, help=_RESAMPLES)
    seed: int = setting(0, ge=0, help=_SEED)
    runtime: Runtime = Runtime()


class BenchmarkConfig(Config):
    """Score maps and embeddings of several encoders with everything that the inputs allow.

    Recall of each map and of the map after each of its steps, and of the oracle; replicate consistency;
    mechanism of action where the wells have a `moa` column; batch effects before and after correction. What
    is skipped is a row that says why.
    """

    maps: dict[str, str] = location(default_factory=dict, help="map folders, by name of the encoder")
    embeddings: dict[str, str] = location(
        default_factory=dict, help="uncorrected embeddings, by the same names"
    )
    annotations: tuple[str, ...] = location((), help="CSV with entity1,entity2; may be repeated")
    oracle: str = location("", help="map of the planted latents, where the answer is known")
    genes: str = location("", help=_GENES)
    reference: str = setting(
        "trained", help="encoder whose recall is compared with the others', pair by pair"
    )
    recall: RecallConfig = RecallConfig()
    consistency: ConsistencyConfig = ConsistencyConfig()
    moa: MoaConfig = MoaConfig()
    batch_effect: BatchEffectConfig = BatchEffectConfig()
    seed: int = setting(0, ge=0, help=_SEED)
    runtime: Runtime = Runtime()
