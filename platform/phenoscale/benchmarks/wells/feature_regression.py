"""CellProfiler features regressed on embeddings (MAE paper, CVPR 2024, appendix A.6, Table 7).

The published protocol leaves two things open, decided here: a feature with values at or below zero in the
training wells enters as log1p((x - smallest) / deviation) where the paper takes a logarithm, and test values
below the training minimum count as the minimum there. The median absolute deviation is not rescaled.
Shapes: N wells, D dimensions, T features, B resamples.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import skew
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNetCV

from phenoscale.benchmarks.profiles.profile_tables import Profiles, metadata_name
from phenoscale.benchmarks.wells.config import FeatureRegressionConfig
from phenoscale.errors import UserError
from phenoscale.logs import get_logger, key_values, progress
from phenoscale.schema.addresses import canonical_address
from phenoscale.schema.embeddings import EmbeddingTable
from phenoscale.schema.keys import EXPERIMENT_KEY, WELL_KEY
from phenoscale.schema.labels import key_labels, short_labels
from phenoscale.schema.rows import Row, canonical_setting
from phenoscale.stats.intervals import percentile_interval
from phenoscale.stats.moments import moments

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.str_]
Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.intp]

ALL = "all"
_COMPARTMENTS = ("Cells", "Cytoplasm", "Nuclei", "Cell", "Nucleus", "Image")
_SKEWED = 0.5
_CONSTANT = 1e-12
_LEAST_WELLS_PER_FOLD = 2

logger = get_logger(__name__)


@dataclass(frozen=True)
class FeatureTransform:
    """How features enter: logarithm, square or as they are, then centered and scaled by the training wells.

    Attributes:
        kinds: [T] "log", "shifted_log", "square" or "none".
        lowest: [T] smallest training value.
        spread: [T] deviation of the training values before the transform.
        center: [T] mean after it.
        scale: [T] deviation after it.
    """

    kinds: Labels
    lowest: Array
    spread: Array
    center: Array
    scale: Array

    def apply(self, values_NT: Array) -> Array:
        """Transform, center and scale."""
        shaped: Array = (_shape(self, values_NT) - self.center) / self.scale
        return shaped


@dataclass(frozen=True)
class FeatureScores:
    """What the regressions say.

    Attributes:
        features: [T] names of the features that could be scored.
        categories: [T].
        r2: [T] on the test wells.
        alphas: [T] chosen strengths.
        l1_ratios: [T] chosen ratios.
        kinds: [T] how each feature was transformed.
        constant: names of features left out because they are constant in either experiment.
        num_unconverged: features with a problem that did not reach the tolerance.
        num_train: training wells.
        num_test: test wells.
    """

    features: Labels
    categories: Labels
    r2: Array
    alphas: Array
    l1_ratios: Array
    kinds: Labels
    constant: Labels
    num_unconverged: int
    num_train: int
    num_test: int


def feature_regression_rows(
    table: EmbeddingTable, *, profiles: Profiles, config: FeatureRegressionConfig
) -> list[Row]:
    """Regress CellProfiler features on the embeddings of one experiment, and judge it on another.

    Raises:
        UserError: what `score_features` refuses.
    """
    return feature_rows(score_features(table, profiles, config=config), config=config)


def score_features(
    table: EmbeddingTable, profiles: Profiles, *, config: FeatureRegressionConfig
) -> FeatureScores:
    """R2 of every feature on the test experiments.

    Raises:
        UserError: experiments that overlap or are not there, wells without profiles, or no feature to score.
    """
    _refuse_overlap(config)
    wells, rows = _join(table, profiles)
    train, test = (
        _wells_of(wells, names, field=field, config=config)
        for field, names in (("train", config.train_experiment), ("test", config.test_experiment))
    )
    features, categories = _chosen_features(profiles.features, config=config)
    columns = pd.Index(profiles.features).get_indexer(pd.Index(features))
    train_y, test_y = (profiles.vectors[rows[part]][:, columns] for part in (train, test))
    varies = ~(_is_constant(train_y) | _is_constant(test_y))
    if not varies.any():
        raise UserError(
            f"all {len(features)} features are constant in one of the experiments, so nothing can be "
            "predicted; check the profiles"
        )
    transform = fit_transform(train_y[:, varies])
    scale = moments(wells.embeddings, rows=train, full=False)
    train_x, test_x = ((wells.embeddings[part] - scale.mean) / scale.deviation for part in (train, test))
    fit = _fit_each(train_x, transform.apply(train_y[:, varies]), test_x=test_x, config=config)
    r2 = _r2(transform.apply(test_y[:, varies]), fit.predicted)
    kept = np.isfinite(r2)
    line = key_values(features=len(r2), train=len(train), test=len(test), open=fit.num_unconverged)
    logger.info("%s", line)
    return FeatureScores(
        features=features[varies][kept],
        categories=categories[varies][kept],
        r2=r2[kept],
        alphas=fit.alphas[kept],
        l1_ratios=fit.l1_ratios[kept],
        kinds=transform.kinds[kept],
        constant=np.concatenate([features[~varies], features[varies][~kept]]),
        num_unconverged=fit.num_unconverged,
        num_train=len(train),
        num_test=len(test),
    )


@dataclass(frozen=True)
class _Fits:
    """One elastic net per feature: test predictions [N, T], chosen strengths and ratios [T]."""

    predicted: Array
    alphas: Array
    l1_ratios: Array
    num_unconverged: int


def _fit_each(train_x: Array, train_y: Array, *, test_x: Array, config: FeatureRegressionConfig) -> _Fits:
    """Cross-validated elastic nets, a feature at a time; a fit that ends early is counted, not refused."""
    model = ElasticNetCV(
        l1_ratio=list(config.l1_ratios),
        alphas=config.num_alphas,
        cv=config.num_folds,
        n_jobs=max(config.runtime.num_workers, 1),
    )
    predicted, alphas, ratios, is_open = [], [], [], []
    with progress(train_y.shape[1], label="feature regression") as bar:
        for target in train_y.T:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always", ConvergenceWarning)
                model.fit(train_x, target)
            is_open.append(any(issubclass(each.category, ConvergenceWarning) for each in said))
            predicted.append(model.predict(test_x))
            alphas.append(model.alpha_)
            ratios.append(model.l1_ratio_)
            bar.advance(1)
    return _Fits(np.stack(predicted, axis=1), np.array(alphas), np.array(ratios), sum(is_open))


def feature_rows(scores: FeatureScores, *, config: FeatureRegressionConfig) -> list[Row]:
    """Median and median absolute deviation of R2, of all features and of each category."""
    names_of_constant = np.array([feature_category(name) for name in scores.constant.tolist()], dtype=str)
    setting = canonical_setting(
        train_experiment=sorted(config.train_experiment),
        test_experiment=sorted(config.test_experiment),
        l1_ratios=list(config.l1_ratios),
        num_alphas=config.num_alphas,
        num_folds=config.num_folds,
        transform="log above skewness .5, square below -.5",
        num_train=scores.num_train,
        num_test=scores.num_test,
        interval="features",
    )
    rows: list[Row] = []
    for category in (ALL, *np.unique(np.concatenate([scores.categories, names_of_constant])).tolist()):
        values = scores.r2 if category == ALL else scores.r2[scores.categories == category]
        absent = names_of_constant if category == ALL else names_of_constant[names_of_constant == category]
        rows += _category_rows(category, values, excluded=len(absent), setting=setting, config=config)
    count = len(scores.features) + len(scores.constant)
    open_row = Row("feature_regression", ALL, "num_unconverged", setting, scores.num_unconverged, n=count)
    return [replace(row, seed=config.seed) for row in [*rows, open_row]]


def fit_transform(values_NT: Array) -> FeatureTransform:
    """Choose each feature's transform by its skewness, and fit its center and scale."""
    skewness = skew(values_NT, axis=0)
    lowest = values_NT.min(axis=0)
    logarithm = np.where(lowest > 0, "log", "shifted_log")
    kinds = np.where(skewness > _SKEWED, logarithm, np.where(skewness < -_SKEWED, "square", "none"))
    ones = np.ones(values_NT.shape[1])
    bare = FeatureTransform(kinds, lowest, values_NT.std(axis=0), 0 * ones, ones)
    scale = moments(_shape(bare, values_NT), full=False)
    return replace(bare, center=scale.mean, scale=scale.deviation)


def feature_category(name: str) -> str:
    """The kind of a feature: the part after the compartment, `AreaShape` of `Cells_AreaShape_Area`."""
    parts = name.split("_")
    return parts[1] if parts[0] in _COMPARTMENTS and len(parts) > 1 else parts[0]


def _shape(transform: FeatureTransform, values_NT: Array) -> Array:
    shaped = values_NT.astype(np.float64)
    plain, shifted = transform.kinds == "log", transform.kinds == "shifted_log"
    floored = np.maximum(shaped, transform.lowest)
    shaped[:, plain] = np.log(floored[:, plain])
    distance = (floored[:, shifted] - transform.lowest[shifted]) / transform.spread[shifted]
    shaped[:, shifted] = np.log1p(distance)
    square = transform.kinds == "square"
    shaped[:, square] **= 2
    return shaped


def _category_rows(
    category: str, values_T: Array, *, excluded: int, setting: str, config: FeatureRegressionConfig
) -> list[Row]:
    shared: dict[str, Any] = {"setting": setting, "n": len(values_T), "excluded": excluded}
    if not len(values_T):
        return [Row("feature_regression", category, "r2_median", **shared)]
    generator = np.random.default_rng(config.seed)
    drawn = generator.integers(0, len(values_T), (config.num_resamples, len(values_T)))
    rows = []
    for metric, take in (("r2_median", _median), ("r2_mad", _absolute_deviation)):
        estimate = percentile_interval(float(take(values_T[None])[0]), resampled_B=take(values_T[drawn]))
        rows.append(
            Row(
                "feature_regression",
                category,
                metric,
                **estimate.as_fields,
                **shared,
            )
        )
    return rows


def _median(values_BT: Array) -> Array:
    return np.asarray(np.median(values_BT, axis=1))


def _absolute_deviation(values_BT: Array) -> Array:
    return _median(np.abs(values_BT - _median(values_BT)[:, None]))


def _r2(truth_NT: Array, predicted_NT: Array) -> Array:
    """1 - residual / total sum of squares around the mean of the test wells."""
    total = ((truth_NT - truth_NT.mean(axis=0)) ** 2).sum(axis=0)
    residual = ((truth_NT - predicted_NT) ** 2).sum(axis=0)
    share: Array = np.divide(residual, total, out=np.full_like(total, np.nan), where=total > 0)
    return 1 - share


def _is_constant(values_NT: Array) -> Mask:
    largest = np.maximum(np.abs(values_NT).max(axis=0), _CONSTANT)
    return np.asarray(np.ptp(values_NT, axis=0) <= _CONSTANT * largest, np.bool_)


def _refuse_overlap(config: FeatureRegressionConfig) -> None:
    both = sorted(set(config.train_experiment) & set(config.test_experiment))
    if both:
        raise UserError(
            f"the experiments {both} are in training and test, but wells of one experiment know its batch; "
            "name different experiments"
        )
    wrong = [ratio for ratio in config.l1_ratios if not 0 < ratio <= 1]
    if wrong:
        raise UserError(f"l1_ratios holds {wrong}, but a ratio is above 0 and at most 1; leave these out")


def _join(table: EmbeddingTable, profiles: Profiles) -> tuple[EmbeddingTable, Positions]:
    """Wells that have a profile, in the order of the table, and the row of each one's profile."""
    keys = [key for key in WELL_KEY if key in WELL_KEY[-2:] or metadata_name(key) in profiles.frame]
    left = _keys(table.frame, dict(zip(keys, keys, strict=True)), source="the embeddings")
    right = _keys(profiles.frame, {key: metadata_name(key) for key in keys}, source=profiles.source)
    for labels, source in ((left, "the embeddings hold"), (right, f"{profiles.source} holds")):
        if labels.duplicated().any():
            found = labels[labels.duplicated()]
            raise UserError(
                f"{source} {len(found)} wells twice by {keys}, such as {found.iloc[0]!r}, but a well has one "
                "vector and one profile; add Metadata_Experiment (and Metadata_Screen) where plate names "
                "repeat"
            )
    rows = pd.Index(right).get_indexer(pd.Index(left))
    if (rows < 0).all():
        raise UserError(
            f"no well of the embeddings (such as {left.iloc[0]!r}) has a profile (such as "
            f"{right.iloc[0]!r}); use the same names of plates and wells in both"
        )
    return table.select(rows >= 0), rows[rows >= 0].astype(np.intp)


def _keys(frame: pd.DataFrame, columns: Mapping[str, str], *, source: str) -> pd.Series[str]:
    names = list(columns.values())
    missing = [name for name in names if name not in frame]
    if missing:
        raise UserError(f"{source} lacks the columns {missing}, but wells are matched by {names}; add them")
    wells = frame[names].set_axis(list(columns), axis=1)
    wells["well"] = wells["well"].astype(str).map(canonical_address)
    return pd.Series(key_labels(wells, list(columns)))


def _wells_of(
    wells: EmbeddingTable, names: tuple[str, ...], *, field: str, config: FeatureRegressionConfig
) -> Positions:
    rows, experiments = _rows_of(wells, names)
    least = _LEAST_WELLS_PER_FOLD * config.num_folds if field == "train" else 2
    if len(rows) < least:
        raise UserError(
            f"{field}_experiment {list(names)} has {len(rows)} wells with embedding and profile, but at "
            f"least {least} are needed; the experiments there are {experiments[:10]}"
        )
    return rows


def _rows_of(wells: EmbeddingTable, names: tuple[str, ...]) -> tuple[Positions, list[str]]:
    """Rows of the named experiments, and all names; a name may begin with the screen."""
    if "experiment" not in wells.frame:
        return np.empty(0, np.intp), []
    known = short_labels(wells.frame, "experiment")
    is_named = np.isin(known, names) | np.isin(key_labels(wells.frame, EXPERIMENT_KEY), names)
    return np.flatnonzero(is_named), np.unique(known).tolist()


def _chosen_features(names: list[str], *, config: FeatureRegressionConfig) -> tuple[Labels, Labels]:
    features = np.array(names, dtype=str)
    categories = np.array([feature_category(name) for name in names], dtype=str)
    kept = np.isin(categories, config.categories) if config.categories else np.ones(len(features), np.bool_)
    if not kept.any():
        raise UserError(
            f"no feature is of the categories {list(config.categories)}; the profiles have "
            f"{np.unique(categories)[:12].tolist()}: name some of these with --categories"
        )
    return features[kept], categories[kept]
