"""RxRx1: splits against the published counts on the real well tables, and planted siRNAs in batches."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from phenoscale.benchmarks.wells.config import RXRX1, Rxrx1Config
from phenoscale.benchmarks.wells.rxrx1 import make_task, rxrx1_rows
from phenoscale.benchmarks.wells.rxrx1_wells import (
    EXPERIMENTS,
    canonical_experiment,
    cell_type_of,
    experiment_codes,
    holdout_of_training,
    parse_wells,
    parts_of,
    read_rxrx1_wells,
)
from phenoscale.errors import UserError
from phenoscale.schema.embeddings import EmbeddingTable, write_embeddings


def _real_wells(real_data):
    folder = real_data("screen_metadata") / "rxrx1"
    return [folder / f"rxrx1_{part}_wells.csv.gz" for part in ("train", "test")]


def _plant(wells, *, num_sirnas, seed=0, batch=3.0, dimensions=12):
    """Vectors with a direction per siRNA and a shift and a scale per experiment; unlabelled wells get one."""
    generator = np.random.default_rng(seed)
    wells = wells.copy()
    unknown = (wells["sirna_id"] < 0).to_numpy()
    for experiment in wells.loc[unknown, "experiment"].unique():
        rows = np.flatnonzero((wells["experiment"] == experiment).to_numpy() & unknown)
        wells.loc[wells.index[rows], "sirna_id"] = generator.permutation(1108)[: len(rows)]
    wells = wells[(wells["sirna_id"] < num_sirnas) | (wells["sirna_id"] >= 1108)].reset_index(drop=True)
    centers = generator.standard_normal((1139, dimensions))
    codes, _ = pd.factorize(wells["experiment"])
    vectors = centers[wells["sirna_id"]] + 0.7 * generator.standard_normal((len(wells), dimensions))
    vectors *= np.exp(0.3 * generator.standard_normal((codes.max() + 1, dimensions)))[codes]
    vectors += batch * generator.standard_normal((codes.max() + 1, dimensions))[codes]
    return EmbeddingTable(wells, vectors, "well")


def test_the_real_well_tables_have_the_published_experiments_and_treatments(real_data):
    wells = read_rxrx1_wells(_real_wells(real_data))
    assert len(wells) == 36_515 + 19_897
    assert wells["experiment"].nunique() == 51
    known = wells[wells["sirna_id"] >= 0]
    assert (known["sirna_id"].nunique(), known["experiment"].nunique()) == (1108, 33)
    parts = parts_of(wells["experiment"].to_numpy(dtype=str), split="official")
    # the table of the training wells is the one with labels
    assert (parts == "train").tolist() == (wells["sirna_id"] >= 0).tolist()
    counts = wells.assign(part=parts).groupby("part")["experiment"].nunique()
    assert (counts["train"], counts["test"]) == (33, 18)


def test_the_codes_of_wilds_are_those_of_the_sorted_experiments():
    names = np.array(list(experiment_codes()))
    assert len(names) == 51 and names.tolist() == sorted(names.tolist())
    parts = parts_of(names, split="wilds")
    found = {part: np.flatnonzero(parts == part).tolist() for part in ("validation", "test")}
    assert found["validation"] == [7, 27, 42, 49]
    assert found["test"] == [8, 9, 10, *range(28, 35), 43, 44, 45, 50]
    official = parts_of(names, split="official")
    by_cell = {
        cell: tuple(int((official[cell_type_of(names) == cell] == part).sum()) for part in ("train", "test"))
        for cell in EXPERIMENTS
    }
    assert by_cell == {"HEPG2": (7, 4), "HUVEC": (16, 8), "RPE": (7, 4), "U2OS": (3, 2)}


def test_wilds_trains_on_one_site_and_tests_the_other_within_the_same_experiments():
    names = np.repeat(np.array(["HUVEC-01", "HUVEC-17", "HUVEC-18"]), 2)
    parts = parts_of(names, split="wilds", sites_N=np.array([1, 2] * 3))
    assert parts.tolist() == ["train", "id_test", "validation", "validation", "test", "test"]
    assert holdout_of_training(np.array(["HUVEC-16", "HUVEC-15"])).tolist() == [True, False]


def test_correction_recovers_planted_sirnas_in_real_test_experiments(real_data):
    wells = read_rxrx1_wells(_real_wells(real_data))
    table = _plant(wells, num_sirnas=25)
    config = Rxrx1Config(num_resamples=50, inverse_regularization=(0.1,))
    rows = rxrx1_rows(table, config=config)
    value = {
        (row.settings["correction"], row.source): row for row in rows if row.metric == "balanced_accuracy"
    }
    before, after = value["none", "all"], value["center_scale", "all"]
    assert before.value < after.value - 0.2
    assert after.value > 0.7 and after.low < after.value < after.high
    assert after.n == sum(value["center_scale", cell].n for cell in EXPERIMENTS)
    assert after.settings["num_tested_classes"] == 25


def test_the_accuracy_is_that_of_scikit_learns_regression(real_data):
    wells = read_rxrx1_wells(_real_wells(real_data))
    table = _plant(wells, num_sirnas=6)
    config = Rxrx1Config(num_resamples=0, corrections=("center_scale",), inverse_regularization=(0.05,))
    rows = rxrx1_rows(table, config=config)
    frame, vectors = table.frame, table.embeddings.copy()
    for experiment in frame["experiment"].unique():
        mine = (frame["experiment"] == experiment).to_numpy()
        vectors[mine] = (vectors[mine] - vectors[mine].mean(axis=0)) / vectors[mine].std(axis=0)
    train = parts_of(frame["experiment"].to_numpy(dtype=str), split="official") == "train"
    vectors = (vectors - vectors[train].mean(axis=0)) / vectors[train].std(axis=0)
    model = LogisticRegression(C=0.05, class_weight="balanced", max_iter=1000, tol=1e-8)
    labels = frame["sirna_id"].to_numpy()
    model.fit(vectors[train], labels[train])
    predicted = model.predict(vectors[~train])
    assert np.isclose(rows[0].value, balanced_accuracy_score(labels[~train], predicted), atol=0.005)
    assert np.isclose(rows[1].value, (labels[~train] == predicted).mean(), atol=0.005)


def _small_screen(*, sites=(1,), controls=True):
    """Some experiments of two cell types with three treatments, two positive and a few negative controls."""
    names = ("HUVEC-01", "HUVEC-16", "HUVEC-17", "HUVEC-18", "RPE-01", "RPE-07", "RPE-08", "RPE-09")
    kinds = [*range(3)] * 4 + ([1108, 1109, 1138, 1138] if controls else [])
    rows = [
        (name, str(plate), f"{'ABCDEFGHIJKLMNOP'[place]}{3 + plate:02d}", sirna, site)
        for name in names
        for plate in (1, 2)
        for place, sirna in enumerate(kinds)
        for site in sites
    ]
    return pd.DataFrame(rows, columns=["experiment", "plate", "well", "sirna_id", "site"])


@pytest.mark.parametrize(("num_classes", "present"), [(1108, 3), (1138, 5), (1139, 6)])
def test_controls_are_classes_or_not(num_classes, present):
    table = _plant(_small_screen(), num_sirnas=3)
    rows = rxrx1_rows(table, config=Rxrx1Config(num_classes=num_classes, num_resamples=0))
    assert rows[0].settings["num_trained_classes"] == present
    wells_left_out = {1108: 4, 1138: 2, 1139: 0}[num_classes]
    assert rows[0].excluded == wells_left_out * 16


def test_wilds_rows_tell_the_parts_apart_and_validation_chooses_the_strength():
    table = _plant(_small_screen(sites=(1, 2)), num_sirnas=3)
    config = Rxrx1Config(split="wilds", num_classes=1139, num_resamples=5, inverse_regularization=(1e-9, 0.1))
    rows = rxrx1_rows(table, config=config)
    parts = {row.settings["part"]: row for row in rows if row.source == "all" and row.metric == "accuracy"}
    assert set(parts) == {"id_test", "validation", "test"}
    assert {row.settings["inverse_regularization"] for row in rows} == {0.1}
    assert parts["id_test"].n == 4 * 2 * 16 and parts["test"].n == 2 * 2 * 16 * 2


def test_negative_controls_can_carry_the_correction_and_must_be_there():
    config = Rxrx1Config(statistics="negative_controls", num_resamples=0, inverse_regularization=(0.1,))
    rows = rxrx1_rows(_plant(_small_screen(), num_sirnas=3, batch=20.0), config=config)
    before, after = (
        next(row for row in rows if row.settings["correction"] == name) for name in config.corrections
    )
    assert after.value > before.value
    without = _plant(_small_screen(controls=False), num_sirnas=3)
    with pytest.raises(UserError, match="negative controls"):
        make_task(without, config=config, correction="center_scale")


def test_the_verb_takes_labels_from_the_published_metadata(tmp_path):
    frame = _small_screen(sites=(1, 2))
    planted = _plant(frame[frame["site"] == 1].reset_index(drop=True), num_sirnas=3)
    write_embeddings(
        tmp_path / "wells",
        EmbeddingTable(planted.frame[["experiment", "plate", "well"]], planted.embeddings, "well"),
    )
    published = frame.assign(
        site_id=[f"s{n}" for n in range(len(frame))],
        sirna="n1",
        experiment=frame["experiment"].str.replace("-0", "-"),
    )
    published.to_csv(tmp_path / "metadata.csv", index=False)
    shared = {"embeddings": str(tmp_path / "wells"), "num_resamples": 0}
    rows = RXRX1.run(Rxrx1Config(metadata=(str(tmp_path / "metadata.csv"),), **shared))
    assert rows[0].value is not None and rows[0].settings["num_trained_classes"] == 3
    with pytest.raises(UserError, match="give --metadata"):
        RXRX1.run(Rxrx1Config(**shared))


def test_wrong_wells_are_refused_with_the_way_out(tmp_path):
    good = pd.DataFrame({"experiment": ["HUVEC-1"], "plate": [1], "well": ["B3"], "sirna_id": [5]})
    assert parse_wells(good, source="t").iloc[0].tolist() == ["HUVEC-01", "1", "B03", 5]
    for changes, words in (
        ({"experiment": ["HELA-01"]}, "no experiment of RxRx1"),
        ({"sirna_id": [1139]}, "from 0 to 1138"),
        ({"sirna_id": ["s21721"]}, "'s21721'"),
    ):
        with pytest.raises(UserError, match=words):
            parse_wells(good.assign(**changes), source="t")
    with pytest.raises(UserError, match="no experiment"):
        canonical_experiment("RPE-12")
    with pytest.raises(UserError, match="add \\['well'\\]"):
        parse_wells(good.drop(columns="well"), source="t")
    good.to_csv(tmp_path / "a.csv", index=False)
    good.assign(sirna_id=6).to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(UserError, match="two labels"):
        read_rxrx1_wells([tmp_path / "a.csv", tmp_path / "b.csv"])
    with pytest.raises(UserError, match="does not exist"):
        read_rxrx1_wells([tmp_path / "none.csv"])
