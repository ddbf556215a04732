"""Benchmarks that read known things from wells: replicates, signals, batches, mechanisms, features."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal

from pydantic import model_validator

from phenoscale.benchmarks.benchmark import Benchmark, Input, Part
from phenoscale.benchmarks.inputs import ARMS, FIELDS, MAP, PLATES, WELLS
from phenoscale.benchmarks.settings import GENE_ARMS, RESAMPLES, SEED, WELL_TABLE
from phenoscale.config import Config, Runtime, location, setting
from phenoscale.errors import UserError

_HERE: Final = "phenoscale.benchmarks.wells"
Target = Literal["plate", "experiment", "quadrant", "edge"]
Wells = Literal["negative_controls", "all"]
Correction = Literal["none", "center_scale"]


class ConsistencyConfig(Config):
    """Replicate consistency: cosines of replicates against those of different perturbations.

    Kolmogorov-Smirnov and un-normalized Cramer-von Mises statistics, pooled and as the mean over
    perturbations. The second grows with the sample size: every row says n and m. Intervals of the pooled
    statistics are centered on the value.
    """

    embeddings: str = location("", help=WELL_TABLE)
    replicate: Literal["well", "guide"] = setting(
        "well", help="a replicate is a well, or the mean of a guide"
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
    num_resamples: int = setting(200, ge=0, help=RESAMPLES)
    seed: int = setting(0, ge=0, help=SEED)
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

    embeddings: str = location("", help=WELL_TABLE)
    aggregate: Literal["mean", "median"] = setting("mean", help="over the wells of a treatment")
    standardize: bool = setting(
        True, help="z-score every dimension over all rows first, where the embeddings are not corrected"
    )
    min_crops: int = setting(3, ge=1, help="crops that a treatment needs, where the table counts them")
    seed: int = setting(0, ge=0, help=SEED)
    runtime: Runtime = Runtime()


class BatchEffectConfig(Config):
    """Batch effect: how well plate, experiment and position are read from wells, and the arm from a map.

    Balanced accuracy of cross-validated logistic regression; near `chance` in the setting is good. Folds keep
    the perturbation (of all wells) and the experiment (for positions) out of the training part. Negative
    controls are tested by a classifier of the other wells.
    """

    embeddings: str = location("", help=WELL_TABLE)
    map: str = location("", help="map, for the chromosome arm")
    genes: str = location("", help=f"{GENE_ARMS}, for the chromosome arm")
    targets: tuple[Target, ...] = setting(
        ("plate", "experiment", "quadrant", "edge"), help="labels to predict"
    )
    wells: tuple[Wells, ...] = setting(("negative_controls", "all"), help="which wells it is predicted from")
    num_folds: int = setting(5, ge=2, help="folds of the cross-validation")
    inverse_regularization: float = setting(0.01, gt=0, help="C of the logistic regression")
    max_classes: int = setting(40, ge=2, help="plates or arms that are told apart; more are sampled")
    max_wells: int = setting(4000, ge=20, help="wells used; more are sampled")
    num_resamples: int = setting(400, ge=0, help=RESAMPLES)
    seed: int = setting(0, ge=0, help=SEED)
    runtime: Runtime = Runtime()


class SignalConfig(Config):
    """What the benchmarks of single perturbations share."""

    null_perturbations: tuple[str, ...] = setting(
        (), help="perturbations that do nothing, for null: control_perturbations"
    )
    genes: str = location(
        "", help="CSV with gene and zfpkm: unexpressed genes are perturbations that do nothing"
    )
    max_zfpkm: float = setting(-3.0, help="zFPKM below which a gene counts as unexpressed")
    threshold: float = setting(
        0.05, gt=0, lt=1, help="p or q below which a perturbation counts as significant"
    )
    num_resamples: int = setting(
        1000, ge=0, help="bootstrap resamples of perturbations behind each interval; 0: no intervals"
    )
    seed: int = setting(0, ge=0, help=SEED)
    output: str = location("", help="Parquet file for one row per perturbation; empty: none is written")
    runtime: Runtime = Runtime()


class SignalConsistencyConfig(SignalConfig):
    """Signal consistency: are the wells of a perturbation more alike than wells drawn at random?

    The mean cosine over all pairs of a perturbation's wells. `random_wells` compares it with as many wells of
    any perturbations (of the same batches with --match), `control_perturbations`, as published, with
    perturbations that do nothing. p = (b + 1) / (B + 1) where b of the B null values are as large or larger;
    q after Benjamini-Hochberg.
    """

    embeddings: str = location("", help=WELL_TABLE)
    null: Literal["random_wells", "control_perturbations"] = setting(
        "random_wells", help="null distribution of the mean cosine"
    )
    match: Literal["none", "experiment", "plate"] = setting(
        "none", help="draw random wells from the perturbation's own experiments or plates, as many from each"
    )
    num_null: int = setting(10_000, ge=1, help="random groups of wells, shared by perturbations of a size")
    min_wells: int = setting(2, ge=2, help="wells that a perturbation needs")


class SignalMagnitudeConfig(SignalConfig):
    """Signal magnitude: how far are the wells of a perturbation from the negative controls?

    Energy distance with V-statistics to at most `max_controls` negative controls of the same cell type and
    time point. `control_subsets` compares it with as many controls against the other controls (both
    comparisons of equal sizes), `control_perturbations`, as published, with perturbations that do nothing.
    p = (b + 1) / (B + 1) where b of the B null values are as large or larger; q after Benjamini-Hochberg.

    With `control_subsets` the wells must not be corrected by steps fitted on the controls: give the output
    of `embed`, or of `map` with statistics: all and without TVN. Controls that a correction was fitted on are
    closer to each other than any other well is to them, and far too many perturbations have a small p.
    """

    embeddings: str = location("", help=WELL_TABLE)
    null: Literal["control_subsets", "control_perturbations"] = setting(
        "control_subsets", help="null distribution of the energy distance"
    )
    max_controls: int = setting(1000, ge=2, help="negative controls used; more are sampled")
    num_null: int = setting(1000, ge=1, help="subsets of controls, shared by perturbations of a size")
    min_wells: int = setting(5, ge=2, help="wells that a perturbation needs")


class FeatureRegressionConfig(Config):
    """CellProfiler features from embeddings: an elastic net per feature, judged on another experiment.

    Features with skewness above .5 enter as their logarithm, below -.5 as their square; all is scaled by the
    training wells. Strength and ratio are chosen by cross-validation over contiguous folds
    (ElasticNetCV). Rows give the median and the median absolute deviation of R2 over the features of a
    category; features that are constant in either experiment are left out and counted.
    """

    embeddings: str = location("", help=WELL_TABLE)
    profiles: str = location(
        "",
        help="CellProfiler profiles of wells, a file or a quoted glob (csv, csv.gz, tsv, parquet): "
        "Metadata_Plate, Metadata_Well, Metadata_Experiment where it is known, and features",
    )
    train_experiment: tuple[str, ...] = setting((), help="experiments to learn from")
    test_experiment: tuple[str, ...] = setting((), help="other experiments, to be judged on")
    categories: tuple[str, ...] = setting(
        ("AreaShape", "Intensity", "Neighbors", "RadialDistribution", "Texture"),
        help="kinds of features, the second part of a name such as Cells_AreaShape_Area; none: all",
    )
    l1_ratios: tuple[float, ...] = setting(
        (0.1, 0.6, 0.9, 0.95, 0.99), min_length=1, help="shares of the absolute penalty, above 0 up to 1"
    )
    num_alphas: int = setting(100, ge=2, help="strengths per ratio, down to a thousandth of the strongest")
    num_folds: int = setting(5, ge=2, help="contiguous folds of the cross-validation")
    num_resamples: int = setting(1000, ge=0, help=RESAMPLES)
    seed: int = setting(0, ge=0, help=SEED)
    runtime: Runtime = Runtime()


class Rxrx1Config(Config):
    """RxRx1 classification: which siRNA a well got, learned from some experiments and read in others.

    Class-balanced multinomial logistic regression on the means of a well's vectors, before and after batch
    correction. `official` tests on the 18 test experiments, `wilds` on those of WILDS: site 2 of the training
    experiments, 4 experiments for validation and 14 for the test. With several strengths of regularization
    the one with the best balanced accuracy on the validation experiments is taken.
    """

    embeddings: str = location("", help=WELL_TABLE)
    metadata: tuple[str, ...] = location(
        (),
        help="RxRx1's metadata.csv, or tables with experiment, plate, well and sirna (or sirna_id), each "
        "well once; none: the embeddings have sirna_id themselves",
    )
    split: Literal["official", "wilds"] = setting("official", help="which experiments train and test")
    num_classes: Literal[1108, 1138, 1139] = setting(
        1108, help="1108 treatments, 1138 with positive controls, 1139 with the negative control as well"
    )
    corrections: tuple[Correction, ...] = setting(
        ("none", "center_scale"), min_length=1, help="corrections of the wells of a batch before training"
    )
    batch_key: Literal["experiment", "plate"] = setting("experiment", help="wells of one batch share this")
    statistics: Literal["all", "negative_controls"] = setting(
        "all",
        help="wells that center_scale is fitted on: all (each experiment holds the same siRNAs), or the "
        "negative controls (one to a few per plate, with scales pooled over batches)",
    )
    inverse_regularization: tuple[float, ...] = setting(
        (0.01,), min_length=1, help="C of the logistic regression; several: chosen on validation"
    )
    num_resamples: int = setting(400, ge=0, help=RESAMPLES)
    seed: int = setting(0, ge=0, help=SEED)
    runtime: Runtime = Runtime()


CONSISTENCY: Final = Benchmark(
    name="consistency",
    config=ConsistencyConfig,
    parts=(Part(needs=(WELLS,), rows=f"{_HERE}.consistency:consistency_rows"),),
    cost="pairs of replicates, at most 300 each; 200 resamples",
    source="ViTally Consistent, ICML 2025",
    examples=("benchmark consistency --embeddings work/embed/KEY --across experiment",),
    in_suite=True,
    in_stage="optional",
)

MOA: Final = Benchmark(
    name="moa",
    config=MoaConfig,
    parts=(
        Part(
            needs=(replace(FIELDS, note="of fields or wells, with `compound` and `moa`"),),
            rows=f"{_HERE}.moa:moa_rows",
        ),
    ),
    cost="treatments^2 D",
    source="Ljosa et al. 2013; Ando, McLean, Berndl 2017",
    examples=("benchmark moa --embeddings work/embed/KEY",),
    in_suite=True,
    in_stage="optional",
    # Correction has scaled the wells already; z-scoring them again would undo its weights.
    corrected_settings={"standardize": False},
)

BATCH_EFFECT: Final = Benchmark(
    name="batch-effect",
    config=BatchEffectConfig,
    parts=(
        Part(needs=(WELLS,), rows=f"{_HERE}.batch_effect:well_rows"),
        Part(needs=(MAP, ARMS), rows=f"{_HERE}.batch_effect:arm_rows"),
    ),
    cost="a cross-validated logistic regression for each target, at most 4000 wells",
    source="this platform",
    examples=("benchmark batch-effect --embeddings work/embed/KEY --targets plate,experiment",),
    in_suite=True,
    in_stage="required",
)

_UNEXPRESSED: Final = Input("genes", note="with zfpkm: the published null")
SIGNAL_CONSISTENCY: Final = Benchmark(
    name="signal-consistency",
    config=SignalConsistencyConfig,
    parts=(Part(needs=(WELLS,), uses=(_UNEXPRESSED,), rows=f"{_HERE}.signal:signal_consistency_rows"),),
    cost="wells x D, and 10,000 random groups per number of wells",
    source="EFAAR_benchmarking 2248f40",
    examples=(
        "benchmark signal-consistency --embeddings work/map/KEY/corrected --output perturbations.parquet",
        "benchmark signal-consistency --embeddings work/embed/KEY --match experiment",
    ),
    in_suite=True,
)

SIGNAL_MAGNITUDE: Final = Benchmark(
    name="signal-magnitude",
    config=SignalMagnitudeConfig,
    parts=(
        Part(
            needs=(replace(WELLS, note="of wells, with negative controls"),),
            uses=(_UNEXPRESSED,),
            rows=f"{_HERE}.magnitude:signal_magnitude_rows",
        ),
    ),
    cost="wells x 1000 controls x D, and 1000 subsets of controls per number of wells",
    source="EFAAR_benchmarking 2248f40",
    examples=("benchmark signal-magnitude --embeddings work/embed/KEY",),
    in_suite=True,
)

FEATURE_REGRESSION: Final = Benchmark(
    name="feature-regression",
    config=FeatureRegressionConfig,
    parts=(
        Part(
            needs=(WELLS, PLATES, Input("train_experiment"), Input("test_experiment")),
            rows=f"{_HERE}.feature_regression:feature_regression_rows",
        ),
    ),
    cost="an elastic net of 500 strengths and 5 folds per feature",
    source="Kraus et al., CVPR 2024, A.6",
    examples=(
        "benchmark feature-regression --embeddings work/embed/KEY --profiles 'profiles/*.csv.gz' "
        "--train-experiment gene-001 --test-experiment gene-002",
    ),
)

RXRX1: Final = Benchmark(
    name="rxrx1",
    config=Rxrx1Config,
    parts=(
        Part(
            needs=(replace(WELLS, locate="", note="of RxRx1 wells"),),
            uses=(Input("metadata"),),
            rows=f"{_HERE}.rxrx1:rxrx1_rows",
        ),
    ),
    cost="multinomial regression of 1,139 classes",
    source="RxRx1; WILDS",
    examples=("benchmark rxrx1 --embeddings work/embed/KEY --metadata metadata.csv --num-classes 1139",),
)
