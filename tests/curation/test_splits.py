"""Splits by whole groups, and sampling weights."""

import numpy as np
import pandas as pd
import pytest

from phenoscale.curation.config import CurateConfig
from phenoscale.curation.splits import split_fields, weigh_fields
from phenoscale.errors import UserError
from phenoscale.schema.wells import parse_wells
from tests.support.screens import tiny_plate


def _fields(num_experiments=10, num_plates=2):
    plates = [
        tiny_plate(f"E{e}", f"P{p}", num_genes=1) for e in range(num_experiments) for p in range(num_plates)
    ]
    return parse_wells(pd.concat(plates, ignore_index=True), source="t").frame


def _split(fields, **settings):
    return split_fields(fields, config=CurateConfig(**settings))


@pytest.mark.parametrize("split_by", ["experiment", "plate"])
def test_no_group_is_in_two_splits_and_the_shares_are_kept(split_by):
    fields = _fields()
    split = _split(fields, split_by=split_by, validation_fraction=0.2, test_fraction=0.1)
    units = ["experiment"] if split_by == "experiment" else ["experiment", "plate"]
    groups = fields.assign(split=split).groupby(units)["split"]
    assert (groups.nunique() == 1).all()
    counts = groups.first().value_counts()
    total = groups.ngroups
    assert counts.to_dict() == {"train": 0.7 * total, "validation": 0.2 * total, "test": 0.1 * total}


def test_the_draw_depends_on_the_seed_and_not_on_the_order_of_rows():
    fields = _fields()
    first = dict(zip(fields["field_id"], _split(fields), strict=True))
    shuffled = fields.sample(frac=1, random_state=0)
    assert dict(zip(shuffled["field_id"], _split(shuffled), strict=True)) == first
    assert {tuple(_split(fields, seed=seed)) for seed in range(5)} != {tuple(first.values())}


def test_named_groups_go_where_they_are_named():
    fields = _fields()
    split = _split(fields, validation_groups=["E3"], test_groups=["E5", "tiny/E6"])
    by_experiment = dict(zip(fields["experiment"], split, strict=True))
    assert {name for name, kind in by_experiment.items() if kind == "validation"} == {"E3"}
    assert {name for name, kind in by_experiment.items() if kind == "test"} == {"E5", "E6"}
    split = _split(fields, split_by="plate", validation_groups=["E3/P1"])
    assert set(fields.loc[split == "validation", "plate"]) == {"P1"}


def test_no_validation_means_that_everything_is_trained_on():
    assert set(_split(_fields(num_experiments=1), validation_fraction=0.0)) == {"train"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"validation_groups": ["E99"]}, "experiment 'E99' has no field left.*E0, E1"),
        ({"validation_groups": ["E1"], "test_groups": ["E1"]}, "E1 is named for validation and for testing"),
        ({"validation_groups": ["E0", "E1", "E2"]}, "leaves none for training"),
    ],
)
def test_names_that_lead_nowhere_are_refused(settings, words):
    with pytest.raises(UserError, match=words):
        _split(_fields(num_experiments=3), **settings)


def test_one_experiment_cannot_be_split_by_experiment_and_the_way_out_is_named():
    with pytest.raises(UserError, match="splitting 1 experiments leaves none for training; split by plate"):
        _split(_fields(num_experiments=1))


@pytest.mark.parametrize("weighting", ["perturbation", "experiment"])
def test_weights_make_groups_equal_within_a_split_and_average_one(weighting):
    fields = _fields().iloc[:-5].reset_index(drop=True)
    split = _split(fields)
    weights = weigh_fields(fields, split=split, weighting=weighting)
    frame = fields.assign(split=split, weight=weights)
    for _, part in frame.groupby("split"):
        assert part["weight"].mean() == pytest.approx(1.0)
        totals = part.groupby(weighting)["weight"].sum()
        assert np.allclose(totals, totals.iloc[0])


def test_uniform_weights_are_all_one():
    fields = _fields()
    assert (weigh_fields(fields, split=_split(fields), weighting="uniform") == 1.0).all()


def test_experiments_of_two_screens_are_groups_and_weigh_alike_apart():
    one = _fields(num_experiments=3).assign(screen="one")
    two = _fields(num_experiments=3).iloc[:-5].assign(screen="two")
    fields = pd.concat([one, two], ignore_index=True)
    split = _split(fields, validation_groups=["two/E1"], test_groups=["E2"])
    owners = dict(zip(fields["screen"] + "/" + fields["experiment"], split, strict=True))
    assert owners == {
        "one/E0": "train", "one/E1": "train", "one/E2": "test",
        "two/E0": "train", "two/E1": "validation", "two/E2": "test",
    }  # fmt: skip
    weights = weigh_fields(fields, split=split, weighting="experiment")
    totals = fields.assign(weight=weights)[split == "test"].groupby("screen")["weight"].sum()
    assert totals["one"] == pytest.approx(totals["two"])
