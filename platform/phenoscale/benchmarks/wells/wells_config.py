"""Settings of the benchmarks that read known things from well embeddings: CellProfiler features and RxRx1."""

from __future__ import annotations

from typing import Literal

from phenoscale.config import Config, Runtime, location, setting

Correction = Literal["none", "center_scale"]

_EMBEDDINGS = "wells: output of `embed` or `map`, or any embedding table"
_RESAMPLES = "bootstrap resamples behind each interval; 0: no intervals"
_SEED = "seed of everything that is drawn"


class FeatureRegressionConfig(Config):
    """CellProfiler features from embeddings: an elastic net per feature, judged on another experiment.

    Features with skewness above .5 enter as their logarithm, below -.5 as their square; all is scaled by the
    training wells. Strength and ratio are chosen by cross-validation over contiguous folds
    (ElasticNetCV). Rows give the median and the median absolute deviation of R2 over the features of a
    category; features that are constant in either experiment are left out and counted.
    """

    embeddings: str = location("", help=_EMBEDDINGS)
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
    num_resamples: int = setting(1000, ge=0, help=_RESAMPLES)
    seed: int = setting(0, ge=0, help=_SEED)
    runtime: Runtime = Runtime()


class Rxrx1Config(Config):
    """RxRx1 classification: which siRNA a well got, learned from some experiments and read in others.

    Class-balanced multinomial logistic regression on the means of a well's vectors, before and after batch
    correction. `official` tests on the 18 test experiments, `wilds` on those of WILDS: site 2 of the training
    experiments, 4 experiments for validation and 14 for the test. With several strengths of regularization
    the one with the best balanced accuracy on the validation experiments is taken.
    """

    embeddings: str = location("", help=_EMBEDDINGS)
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
        ("none", "center_scale"), min_length=1, help="what is done to the wells of a batch first"
    )
    batch_key: Literal["experiment", "plate"] = setting("experiment", help="what a batch is")
    statistics: Literal["all", "negative_controls"] = setting(
        "all",
        help="wells that center_scale is fitted on: all (each experiment holds the same siRNAs), or the "
        "negative controls (one to a few per plate, with scales pooled over batches)",
    )
    inverse_regularization: tuple[float, ...] = setting(
        (0.01,), min_length=1, help="C of the logistic regression; several: chosen on validation"
    )
    num_resamples: int = setting(400, ge=0, help=_RESAMPLES)
    seed: int = setting(0, ge=0, help=_SEED)
    runtime: Runtime = Runtime()
