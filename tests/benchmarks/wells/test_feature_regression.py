"""CellProfiler features from embeddings: planted features, scikit-learn per feature, transforms, joins."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import median_abs_deviation
from sklearn.linear_model import ElasticNetCV
from sklearn.metrics import r2_score

from phenoscale.benchmarks.profiles.profile_tables import Profiles
from phenoscale.benchmarks.wells.config import FEATURE_REGRESSION, FeatureRegressionConfig
from phenoscale.benchmarks.wells.feature_regression import (
    feature_category,
    feature_rows,
    fit_transform,
    score_features,
)
from phenoscale.errors import UserError
from phenoscale.schema.embeddings import EmbeddingTable, write_embeddings
from tests.support.wells import in_two_screens

FEATURES = (
    "Cells_AreaShape_Area",
    "Cells_AreaShape_Noise",
    "Nuclei_Intensity_Mean_DNA",
    "Nuclei_Intensity_Shifted_DNA",
    "Cytoplasm_Texture_Left",
    "Cytoplasm_Texture_Same",
    "Nuclei_Granularity_1",
)
FEW = {"l1_ratios": (0.1, 0.9), "num_alphas": 12, "num_resamples": 50}


def _screen(seed=0, *, wells=96, dimensions=8):
    """Two experiments; features are functions of the embedding, one is noise, one is constant."""
    generator = np.random.default_rng(seed)
    rows = [
        (experiment, "p1", f"{'ABCDEFGH'[n // 12]}{n % 12 + 1:02d}")
        for experiment in ("train", "test")
        for n in range(wells)
    ]
    frame = pd.DataFrame(rows, columns=["experiment", "plate", "well"])
    vectors = generator.standard_normal((len(frame), dimensions))
    signal = vectors @ generator.standard_normal((dimensions, 4)) / dimensions**0.5
    signal += 0.1 * generator.standard_normal(signal.shape)
    values = np.stack(
        [
            np.exp(signal[:, 0]),
            generator.standard_normal(len(frame)),
            signal[:, 1],
            np.exp(signal[:, 2]) - 5,
            3 - np.exp(-signal[:, 3] - 2),
            np.full(len(frame), 3.0),
            signal[:, 0],
        ],
        axis=1,
    )
    metadata = frame.rename(columns=lambda name: f"Metadata_{name.capitalize()}")
    shuffled = generator.permutation(len(frame))
    profiles = Profiles(
        metadata.iloc[shuffled].reset_index(drop=True), values[shuffled], list(FEATURES), source="planted"
    )
    return EmbeddingTable(frame, vectors, "well"), profiles


def _config(**changes):
    return FeatureRegressionConfig(
        train_experiment=("train",), test_experiment=("test",), **{**FEW, **changes}
    )


def test_planted_features_are_predicted_noise_is_not_and_constant_ones_are_counted():
    table, profiles = _screen()
    scores = score_features(table, profiles, config=_config())
    r2 = dict(zip(scores.features.tolist(), scores.r2.tolist(), strict=True))
    assert scores.constant.tolist() == ["Cytoplasm_Texture_Same"]
    assert "Nuclei_Granularity_1" not in r2
    assert r2.pop("Cells_AreaShape_Noise") < 0.1
    # the square does not quite undo the planted exponential
    assert r2.pop("Cytoplasm_Texture_Left") > 0.5
    assert min(r2.values()) > 0.8
    assert (scores.num_train, scores.num_test, scores.num_unconverged) == (96, 96, 0)


def test_every_score_equals_scikit_learns_on_the_same_transform():
    table, profiles = _screen(1)
    scores = score_features(table, profiles, config=_config(categories=()))
    by_well = {
        (row["Metadata_Experiment"], row["Metadata_Well"]): values
        for (_, row), values in zip(profiles.frame.iterrows(), profiles.vectors, strict=True)
    }
    keys = zip(table.frame["experiment"], table.frame["well"], strict=True)
    values = np.array([by_well[key] for key in keys])
    train, test = (
        (table.frame["experiment"] == "train").to_numpy(),
        (table.frame["experiment"] == "test").to_numpy(),
    )
    mean, deviation = table.embeddings[train].mean(axis=0), table.embeddings[train].std(axis=0)
    samples = (table.embeddings - mean) / deviation
    for name, kind, found in zip(scores.features, scores.kinds, scores.r2, strict=True):
        shaped = values[:, FEATURES.index(name)]
        lowest, deviation = shaped[train].min(), shaped[train].std()
        if kind == "log":
            shaped = np.log(np.maximum(shaped, lowest))
        elif kind == "shifted_log":
            shaped = np.log1p((np.maximum(shaped, lowest) - lowest) / deviation)
        elif kind == "square":
            shaped = shaped**2
        shaped = (shaped - shaped[train].mean()) / shaped[train].std()
        model = ElasticNetCV(l1_ratio=[0.1, 0.9], cv=5, alphas=12).fit(samples[train], shaped[train])
        assert np.isclose(found, r2_score(shaped[test], model.predict(samples[test])), atol=2e-3)


def test_skewness_chooses_the_transform_and_test_values_below_the_training_range_stay_finite():
    generator = np.random.default_rng(0)
    normal = generator.standard_normal(2000)
    values = np.stack([np.exp(normal), np.exp(normal) - 1, 3 - np.exp(normal / 2), normal], axis=1)
    transform = fit_transform(values)
    assert transform.kinds.tolist() == ["log", "shifted_log", "square", "none"]
    shaped = transform.apply(values)
    assert np.allclose(shaped.mean(axis=0), 0, atol=1e-9) and np.allclose(shaped.std(axis=0), 1)
    assert np.allclose(shaped[:, 0], (normal - normal.mean()) / normal.std())
    assert np.isfinite(transform.apply(values - 100)).all()


def test_the_test_wells_are_scaled_by_the_training_wells():
    table, profiles = _screen(2)
    shifted = table.frame["experiment"] == "test"
    moved = profiles.vectors.copy()
    moved[(profiles.frame["Metadata_Experiment"] == "test").to_numpy(), 2] += 10
    before, after = (
        score_features(table, Profiles(profiles.frame, v, list(FEATURES), source="t"), config=_config())
        for v in (profiles.vectors, moved)
    )
    place = before.features.tolist().index("Nuclei_Intensity_Mean_DNA")
    assert shifted.sum() == 96 and before.r2[place] > 0.8 > 0 > after.r2[place]


def test_rows_hold_the_median_and_the_median_absolute_deviation_of_each_category():
    table, profiles = _screen(3)
    config = _config()
    scores = score_features(table, profiles, config=config)
    rows = {(row.source, row.metric): row for row in feature_rows(scores, config=config)}
    for category in ("AreaShape", "Intensity", "Texture"):
        values = scores.r2[scores.categories == category]
        median, deviation = rows[category, "r2_median"], rows[category, "r2_mad"]
        assert np.isclose(median.value, np.median(values))
        assert np.isclose(deviation.value, median_abs_deviation(values))
        assert median.low <= median.value <= median.high and median.n == len(values)
    assert (rows["Texture", "r2_median"].excluded, rows["all", "r2_median"].excluded) == (1, 1)
    assert rows["all", "num_unconverged"].value == 0


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("Cells_AreaShape_Area", "AreaShape"),
        ("Nuclei_RadialDistribution_FracAtD_DNA_1of4", "RadialDistribution"),
        ("Texture_Contrast", "Texture"),
        ("Count", "Count"),
    ],
)
def test_the_category_is_the_part_after_the_compartment(name, category):
    assert feature_category(name) == category


def test_the_verb_reads_files_and_knows_wells_by_any_spelling(tmp_path):
    table, profiles = _screen(4)
    table.frame["plate"] = table.frame["experiment"] + "-plate"
    profiles.frame["Metadata_Plate"] = profiles.frame.pop("Metadata_Experiment") + "-plate"
    write_embeddings(tmp_path / "wells", table)
    features = pd.DataFrame(profiles.vectors, columns=list(FEATURES))
    short = profiles.frame["Metadata_Well"].str.replace("0(?=[1-9])", "", regex=True)
    frame = profiles.frame.assign(Metadata_Well=short)
    pd.concat([frame, features], axis=1).to_csv(tmp_path / "profiles.csv.gz", index=False)
    config = _config(embeddings=str(tmp_path / "wells"), profiles=str(tmp_path / "profiles.csv.gz"))
    rows = FEATURE_REGRESSION.run(config)
    assert next(row for row in rows if row.source == "Intensity").value > 0.8


def test_what_cannot_be_scored_is_refused_with_the_way_out():
    table, profiles = _screen(5)
    cases = [
        ({"test_experiment": ("train",)}, "different experiments"),
        ({"test_experiment": ("other",)}, "0 wells"),
        ({"categories": ("Neighbors",)}, "name some of these"),
        ({"l1_ratios": (0.0, 0.5)}, "above 0"),
        ({"categories": ("Texture",)}, "constant"),
    ]
    for changes, words in cases[:4]:
        with pytest.raises(UserError, match=words):
            score_features(
                table,
                profiles,
                config=FeatureRegressionConfig(
                    **{"train_experiment": ("train",), "test_experiment": ("test",), **FEW, **changes}
                ),
            )
    constant = Profiles(profiles.frame, np.ones_like(profiles.vectors), list(FEATURES), source="t")
    with pytest.raises(UserError, match="constant"):
        score_features(table, constant, config=_config())
    no_plate = Profiles(
        profiles.frame.drop(columns="Metadata_Plate"), profiles.vectors, list(FEATURES), source="t"
    )
    with pytest.raises(UserError, match="lacks the columns"):
        score_features(table, no_plate, config=_config())
    bare = Profiles(
        profiles.frame.drop(columns="Metadata_Experiment"), profiles.vectors, list(FEATURES), source="t"
    )
    with pytest.raises(UserError, match="twice"):
        score_features(table, bare, config=_config())
    with pytest.raises(UserError, match="--embeddings"):
        FEATURE_REGRESSION.run(FeatureRegressionConfig())


def test_wells_of_two_screens_meet_their_own_profiles_and_an_experiment_is_named_with_its_screen():
    table, profiles = _screen()
    both = in_two_screens(table)
    with pytest.raises(UserError, match=r"the embeddings hold 192 wells twice.*Metadata_Screen"):
        score_features(both, profiles, config=_config())
    columns = pd.concat([profiles.frame.assign(Metadata_Screen=name) for name in ("one", "two")])
    shuffled = profiles.vectors[np.random.default_rng(1).permutation(len(profiles))]
    of_both = Profiles(
        columns.reset_index(drop=True), np.concatenate([profiles.vectors, shuffled]), list(FEATURES), "t"
    )
    alone = score_features(table, profiles, config=_config())
    config = FeatureRegressionConfig(train_experiment=("one/train",), test_experiment=("one/test",), **FEW)
    found = score_features(both, of_both, config=config)
    assert (found.num_train, found.num_test) == (alone.num_train, alone.num_test)
    assert np.allclose(found.r2, alone.r2)
    with pytest.raises(UserError, match=r"0 wells.*'one/test', 'one/train', 'two/test', 'two/train'"):
        score_features(both, of_both, config=_config())
