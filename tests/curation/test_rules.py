"""Curation rules: what each keeps, what the funnel counts, and how refusals read."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenoscale.curation.config import CurateConfig, QualityConfig
from phenoscale.curation.rules import (
    apply_rules,
    funnel_step,
    hashed,
    metadata_rules,
    quality_rules,
    selection_rules,
    share_of,
    stop_if_empty,
    stop_if_plates_lack_negative_controls,
)
from phenoscale.errors import UserError
from phenoscale.schema.wells import parse_wells
from phenoscale.screens.ingest.config import IngestConfig
from phenoscale.screens.ingest.readers.bbbc021 import plan_bbbc021
from tests.support.screens import tiny_plate


def _fields(num_experiments=3, num_plates=2, **options):
    plates = [
        tiny_plate(f"E{e}", f"P{p}", **options) for e in range(num_experiments) for p in range(num_plates)
    ]
    fields = parse_wells(pd.concat(plates, ignore_index=True), source="t").frame
    return fields.assign(is_empty=False, is_saturated=False, is_out_of_focus=False)


def _kept(fields, **settings):
    return apply_rules(fields, selection_rules(CurateConfig(**settings)))


def test_every_flag_has_its_rule_and_a_rule_that_is_off_is_left_out():
    fields = _fields()
    fields.loc[[1, 2], "is_empty"] = True
    fields.loc[[2, 3, 4], "is_saturated"] = True
    fields.loc[[5], "is_out_of_focus"] = True
    kept, steps = apply_rules(fields, quality_rules(CurateConfig()))
    assert [(step.rule, step.removed) for step in steps] == [
        ("empty", 2),
        ("saturated", 2),
        ("out of focus", 1),
    ]
    assert len(kept) == len(fields) - 5
    config = CurateConfig(quality=QualityConfig(max_saturated_fraction=None))
    assert [rule.name for rule in quality_rules(config)] == ["empty", "out of focus"]


def test_the_funnel_counts_add_up_by_perturbation_type():
    fields = _fields()
    fields.loc[[0, 4, 5], "is_empty"] = True
    _, [step, *_] = apply_rules(fields, quality_rules(CurateConfig()))
    assert step.kept + step.removed == len(fields)
    assert step.removed_per_type == {"control": 1, "crispr": 2}
    assert sum(step.kept_per_type.values()) == step.kept
    assert "0.1" in step.setting


def test_fields_without_perturbation_are_removed_unless_they_are_wanted():
    fields = _fields()
    fields.loc[:2, "perturbation"] = ""
    kept, _ = apply_rules(fields, metadata_rules(CurateConfig()))
    assert len(kept) == len(fields) - 3
    assert metadata_rules(CurateConfig(require_perturbation=False)) == []


def test_wells_and_not_fields_are_replicates_and_controls_are_exempt():
    fields = _fields(num_sites=3)
    rare = fields["gene"] == "GENE1"
    fields = fields[~rare | (fields["experiment"] == "E0") | fields["is_negative_control"]]
    # GENE1 has 2 guides x 2 plates = 4 wells of 3 sites; the others have 12 wells
    assert set(_kept(fields, min_wells=5)[0]["gene"]) == {"", "PLK1", "GENE2", "GENE3"}
    assert set(_kept(fields, min_wells=4)[0]["gene"]) == {"", "PLK1", "GENE1", "GENE2", "GENE3"}
    assert set(_kept(fields, min_wells=13)[0]["gene"]) == {"", "PLK1"}
    assert set(_kept(fields, min_experiments=2)[0]["gene"]) == {"", "PLK1", "GENE2", "GENE3"}


def test_replicate_counts_equal_a_slow_count():
    fields = _fields().sample(frac=0.6, random_state=3)
    kept, _ = _kept(fields, min_wells=6)
    for _, row in fields.iterrows():
        same = fields[fields["perturbation"] == row["perturbation"]]
        wells = {(r.experiment, r.plate, r.well) for r in same.itertuples()}
        is_control = row["is_negative_control"] or row["is_positive_control"]
        assert (row["field_id"] in set(kept["field_id"])) == (is_control or len(wells) >= 6)


@pytest.mark.parametrize(("fraction", "expected"), [(1.0, 4), (0.5, 2), (0.3, 2), (0.01, 1), (0.0, 0)])
def test_a_share_of_the_negative_controls_of_every_plate_is_kept_rounded_up(fraction, expected):
    fields = _fields(num_sites=2)
    kept, _ = _kept(fields, negative_control_fraction=fraction)
    controls = kept[kept["is_negative_control"]]
    per_plate = controls.groupby(["experiment", "plate"])["well"].nunique()
    assert (per_plate == expected).all() if expected else controls.empty
    assert (controls.groupby(["experiment", "plate", "well"]).size() == 2).all()
    assert (~kept["is_negative_control"]).sum() == (~fields["is_negative_control"]).sum()


def test_which_controls_are_kept_depends_on_the_seed_and_not_on_the_order_of_rows():
    fields = _fields(num_negative_controls=12)
    first = set(_kept(fields, negative_control_fraction=0.5)[0]["field_id"])
    shuffled = set(_kept(fields.sample(frac=1, random_state=1), negative_control_fraction=0.5)[0]["field_id"])
    other = set(_kept(fields, negative_control_fraction=0.5, seed=1)[0]["field_id"])
    assert first == shuffled != other
    one_plate = fields[(fields["experiment"] == "E1") & (fields["plate"] == "P1")]
    alone = set(_kept(one_plate, negative_control_fraction=0.5)[0]["field_id"])
    assert alone == first & set(one_plate["field_id"])


def test_positive_controls_have_a_share_of_their_own():
    kept, steps = _kept(_fields(), positive_control_fraction=0.0)
    assert not kept["is_positive_control"].any()
    assert [step.rule for step in steps] == ["positive controls"]


def test_an_empty_selection_names_the_rule_that_removed_the_most():
    fields = _fields()
    fields["is_empty"] = np.arange(len(fields)) < 10
    fields["is_saturated"] = True
    kept, steps = apply_rules(fields, quality_rules(CurateConfig()))
    steps = [funnel_step("in the stores", "", kept=fields, removed=fields.iloc[:0]), *steps]
    with pytest.raises(
        UserError, match=rf"of {len(fields)}, the rule 'saturated' \(max_saturated_fraction 0.02\)"
    ):
        stop_if_empty(kept, steps)


def test_plates_without_negative_controls_are_named_by_experiment_and_plate():
    fields = _fields(num_experiments=4)
    stop_if_plates_lack_negative_controls(fields, when="")
    fields.loc[fields["experiment"] != "E0", "is_negative_control"] = False
    with pytest.raises(
        UserError, match="6 of 8 plates have no negative control in the well table: E1/P0, E1/P1,"
    ) as refused:
        stop_if_plates_lack_negative_controls(fields, when="in the well table")
    assert "and 1 more" in str(refused.value) and "is_negative_control" in str(refused.value)


@given(st.floats(0, 1, exclude_min=True), st.integers(1, 1000))
def test_a_share_is_rounded_and_at_least_one(fraction, total):
    assert (
        share_of(fraction, total) == max(1, round(fraction * total + 1e-9))
        or abs(fraction * total % 1 - 0.5) < 1e-6
    )


def test_the_hash_of_parts_is_the_same_in_every_process_and_differs_by_part():
    assert hashed(0, "a", "b") == hashed(0, "a", "b")
    assert len({hashed(seed, "a", name) for seed in range(10) for name in "abc"}) == 30
    assert hashed("ab", "c") != hashed("a", "bc")


def test_fourteen_plates_of_the_real_crops_have_no_negative_control(real_data):
    folder = real_data("bbbc021_singlecell_crops")
    wells = plan_bbbc021(IngestConfig(source="bbbc021", path=str(folder))).wells.frame
    with pytest.raises(UserError, match="14 of 55 plates have no negative control"):
        stop_if_plates_lack_negative_controls(wells, when="in the well table")
