"""Which samples a task has: selection, labels, groups that stay together, and everything left out counted."""

import logging

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from phenoscale.errors import UserError
from phenoscale.probing.config import ProbeTask
from phenoscale.probing.samples import count_unseen, draw_samples


def screen(*, num_experiments=3, num_plates=2, num_wells=8, num_sites=2):
    rows = [
        {
            "screen": "S",
            "experiment": f"E{experiment}",
            "plate": f"P{plate}",
            "well": f"B{well + 1:02d}",
            "site": site,
            "object": 0,
            "perturbation": f"g{well % 4}",
            "moa": "" if well % 4 == 3 else f"m{well % 4 % 2}",
            "dose": float(well % 2),
        }
        for experiment in range(num_experiments)
        for plate in range(num_plates)
        for well in range(num_wells)
        for site in range(num_sites)
    ]
    return pd.DataFrame(rows)


def draw(frame, *, seed=0, **settings):
    return draw_samples(frame, task=ProbeTask(**settings), seed=seed)


def test_a_well_is_one_sample_and_its_fields_are_averaged():
    frame = screen()
    samples = draw(frame)
    assert len(samples.labels) == 3 * 2 * 8
    embeddings = np.random.default_rng(0).normal(size=(2, len(frame), 5)).astype(np.float32)
    means = samples.average(embeddings, positions=samples.rows)
    first = frame.index[(frame.experiment == "E1") & (frame.plate == "P0") & (frame.well == "B03")]
    sample = samples.sample_of_row[samples.rows == first[0]][0]
    np.testing.assert_allclose(means[:, sample], embeddings[:, first].astype(float).mean(axis=1))


def test_samples_of_one_plate_are_centered_together_and_of_no_other():
    frame = screen()
    samples, centered = draw(frame), draw(frame, center_by="plate")
    embeddings = np.random.default_rng(0).normal(size=(2, len(frame), 5)).astype(np.float32)
    plain = samples.average(embeddings, positions=samples.rows)
    moved = centered.average(embeddings, positions=centered.rows)
    # Plates P0 and P1 exist in each of three experiments: six plates of eight wells.
    assert len(np.unique(centered.centers)) == 6
    for code in range(6):
        rows = centered.centers == code
        np.testing.assert_allclose(
            moved[:, rows], plain[:, rows] - plain[:, rows].mean(axis=1, keepdims=True)
        )


def test_a_field_is_one_sample_at_field_level():
    samples = draw(screen(), level="field")
    assert len(samples.labels) == 3 * 2 * 8 * 2
    embeddings = np.arange(96, dtype=np.float32).reshape(1, 96, 1)
    np.testing.assert_array_equal(samples.average(embeddings, positions=samples.rows), embeddings)


def test_averages_find_fields_that_were_embedded_in_another_order():
    frame = screen(num_sites=1)
    samples = draw(frame, where="experiment != 'E0'")
    order = np.random.default_rng(1).permutation(len(frame))
    embedded = order[np.isin(order, samples.rows)]
    position_of = {row: position for position, row in enumerate(embedded)}
    positions = np.array([position_of[row] for row in samples.rows])
    found = samples.average(embedded[None, :, None].astype(np.float32), positions=positions)
    np.testing.assert_array_equal(found[0, :, 0], samples.rows)


@pytest.mark.parametrize("group", ["experiment", "plate", "well", "perturbation"])
def test_no_group_is_trained_on_and_tested(group):
    label = "dose" if group == "perturbation" else "perturbation"
    samples = draw(screen(), group=group, label=label, level="field", num_folds=3)
    for name in np.unique(samples.groups):
        assert len(np.unique(samples.folds[samples.groups == name])) == 1


def test_folds_are_scikit_learns():
    frame = screen(num_experiments=7, num_plates=3)
    samples = draw(frame, group="experiment", num_folds=4, seed=3)
    expected = np.empty(len(samples.labels), dtype=int)
    splitter = StratifiedGroupKFold(4, shuffle=True, random_state=3)
    for fold, (_, held) in enumerate(
        splitter.split(samples.labels, samples.labels, [int(name[1:]) for name in samples.groups])
    ):
        expected[held] = fold
    np.testing.assert_array_equal(samples.folds, expected)


def test_plates_of_the_same_name_in_different_experiments_are_different_groups():
    samples = draw(screen(), group="plate")
    assert len(np.unique(samples.groups)) == 6
    assert "E0/P1" in samples.groups


def test_plates_whose_names_are_unique_keep_them():
    frame = screen(num_plates=1)
    frame["plate"] = frame["experiment"] + "_1"
    assert np.unique(draw(frame, group="plate").groups).tolist() == ["E0_1", "E1_1", "E2_1"]


def test_leaving_one_group_out_makes_one_fold_per_group():
    samples = draw(screen(), group="plate", split="leave_one_group_out")
    assert samples.folds.max() + 1 == 6
    assert all(len(np.unique(samples.groups[samples.folds == fold])) == 1 for fold in range(6))


def test_fewer_groups_than_folds_reduce_the_folds_and_are_logged(caplog):
    logging.getLogger("phenoscale").propagate = True
    with caplog.at_level(logging.INFO, logger="phenoscale"):
        samples = draw(screen(), num_folds=5)
    assert samples.folds.max() + 1 == 3
    assert "num_folds=3 wanted=5 groups=3" in caplog.text


def test_rows_without_a_label_are_left_out_and_counted():
    samples = draw(screen(), label="moa", level="field")
    assert samples.excluded == {"no label": 3 * 2 * 2 * 2}
    assert samples.classes == ("m0", "m1")
    assert samples.num_excluded == 24


def test_a_class_that_occurs_in_one_group_is_left_out_and_named():
    frame = screen()
    frame.loc[(frame.experiment == "E1") & (frame.perturbation == "g0"), "perturbation"] = "rare"
    samples = draw(frame)
    assert samples.excluded == {"class occurs in one group only": 4}
    assert samples.excluded_classes == ("rare",)
    assert "rare" not in samples.classes


def test_classes_below_the_smallest_size_are_left_out_and_counted():
    frame = screen()
    frame.loc[frame.well == "B01", "perturbation"] = "small"
    samples = draw(frame, min_class_size=7)
    assert samples.excluded == {"class has fewer than 7 samples": 12}
    assert samples.excluded_classes == ("g0", "small")


def test_a_query_selects_the_fields():
    samples = draw(screen(), where="perturbation in ['g0', 'g1'] and plate == 'P1'")
    assert samples.classes == ("g0", "g1")
    assert len(samples.labels) == 3 * 4


def test_numbers_can_be_labels():
    assert draw(screen(), label="dose").classes == ("0.0", "1.0")


def test_confounds_are_one_hot_columns_of_each_named_column():
    samples = draw(screen(), confounds=("experiment", "plate"))
    assert samples.confounds.shape == (48, 3 + 6)
    assert (samples.confounds[:, :3].sum(axis=1) == 1).all()
    assert (samples.confounds[:, 3:].sum(axis=1) == 1).all()
    assert draw(screen(), confounds=()).confounds.shape == (48, 0)


def test_samples_of_classes_that_no_other_fold_holds_are_counted():
    labels = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    folds = np.array([0, 1, 1, 0, 0, 1, 1, 1])
    assert count_unseen(labels, folds=folds) == 2 + 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label": "mechanism"}, r"label 'mechanism' is no column.*choose one of dose, experiment"),
        ({"group": "batch"}, "group 'batch' is no column"),
        ({"confounds": ("week",)}, "confound 'week' is no column"),
        ({"where": "perturbation == 'none'"}, "selects none of 96 fields"),
        ({"where": "nothing > 3"}, "cannot be evaluated.*columns dose, experiment"),
        ({"where": "perturbation =="}, "cannot be evaluated"),
        ({"label": "plate", "group": "plate"}, "0 classes of 'plate' occur in two groups"),
        ({"where": "experiment == 'E0'"}, "0 classes of 'perturbation' occur in two groups"),
    ],
)
def test_a_task_that_cannot_be_asked_names_what_is_there(settings, message):
    with pytest.raises(UserError, match=message):
        draw(screen(), **settings)


def test_a_column_without_any_value_is_refused():
    with pytest.raises(UserError, match="label 'moa' is empty in all 48 samples"):
        draw(screen().assign(moa=""), label="moa")


def test_a_well_with_two_labels_is_refused_at_well_level():
    frame = screen()
    frame["stage"] = frame["site"].map({0: "a", 1: "b"})
    with pytest.raises(UserError, match=r"well S/E0/P0/B01 holds the stage 'a' and 'b'.*level: field"):
        draw(frame, label="stage")


def test_equal_names_in_two_screens_are_other_groups_centers_wells_and_confounds():
    both = pd.concat([screen(), screen().assign(screen="T")], ignore_index=True)
    one, two = (draw(frame, center_by="plate", level="well") for frame in (screen(), both))
    for count in (
        lambda samples: len(samples.labels),
        lambda samples: len(set(samples.groups)),
        lambda samples: len(np.unique(samples.centers)),
        lambda samples: samples.confounds.shape[1],
    ):
        assert count(two) == 2 * count(one)
    assert set(two.groups) == {f"{name}/E{number}" for name in "ST" for number in range(3)}
    assert set(one.groups) == {"E0", "E1", "E2"}
    assert len(set(draw(both, group="well").groups)) == 2 * len(set(draw(screen(), group="well").groups))
