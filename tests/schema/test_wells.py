"""The well table: what is filled in, what is refused, and how a refusal reads."""

import hashlib
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenoscale.errors import UserError
from phenoscale.schema.keys import FIELD_KEY
from phenoscale.schema.wells import COLUMNS, field_id, field_ids, nearest_name, parse_wells
from tests.support.screens import tiny_plate


def _table(**columns):
    frame = tiny_plate("E1", "P1")
    return frame.assign(**columns)


def _refusal(frame):
    with pytest.raises(UserError) as refused:
        parse_wells(frame, source="plates.csv")
    return str(refused.value)


def test_a_parsed_table_has_every_column_with_its_type_and_keeps_unknown_ones():
    wells = parse_wells(_table(moa="Eg5 inhibitors"), source="t").frame
    assert list(wells.columns) == [*COLUMNS, "moa"]
    assert wells["site"].dtype == wells["object"].dtype == np.int64
    assert wells["concentration_um"].dtype == wells["timepoint_h"].dtype == np.float64
    assert wells["is_negative_control"].dtype == bool
    assert wells["site"].eq(1).all() and wells["object"].eq(0).all()
    assert wells["source"].eq("").all() and wells["concentration_um"].isna().all()


def test_the_input_frame_is_left_as_it_was():
    frame = _table(well=[well.lower() for well in tiny_plate("E1", "P1")["well"]])
    before = frame.copy(deep=True)
    parse_wells(frame, source="t")
    pd.testing.assert_frame_equal(frame, before)


def test_parsing_a_parsed_table_changes_nothing():
    once = parse_wells(_table(channels="DNA|ER", moa="x"), source="t").frame
    pd.testing.assert_frame_equal(parse_wells(once, source="t").frame, once)


def test_published_rxrx3_rows_are_parsed():
    rows = [
        ("gene-079", "8", "H29", "RPLP2", "RPLP2_guide_4", "", np.nan, "CRISPR"),
        ("gene-045", "4", "AD27", "RXRX3-43938", "RXRX3-43938_guide_6", "", np.nan, "CRISPR"),
        ("compound-001", "19", "D20", "", "Dequalinium", "CC1=[N+](C) |c:1,13|", 0.25, "COMPOUND"),
    ]
    names = [
        "experiment",
        "plate",
        "well",
        "gene",
        "perturbation",
        "smiles",
        "concentration_um",
        "perturbation_type",
    ]
    wells = parse_wells(pd.DataFrame(rows, columns=names).assign(screen="RxRx3"), source="t").frame
    assert wells["perturbation_type"].tolist() == ["crispr", "crispr", "compound"]
    assert wells["well"].tolist() == ["H29", "AD27", "D20"]
    assert wells["concentration_um"].tolist()[2] == 0.25


def test_numbers_that_were_read_as_floats_are_names_again():
    wells = parse_wells(_table(plate=12.0, experiment=3), source="t").frame
    assert wells["plate"].eq("12").all() and wells["experiment"].eq("3").all()


def test_na_is_the_name_of_a_gene_and_an_empty_cell_is_missing():
    frame = _table()
    frame["gene"] = ["NA", None] + ["None"] * (len(frame) - 2)
    assert parse_wells(frame, source="t").frame["gene"].tolist()[:3] == ["NA", "", "None"]


def test_a_missing_column_is_named_with_the_nearest_one_and_the_mapping():
    message = _refusal(_table().rename(columns={"perturbation": "pertubation_name"}))
    assert "column 'perturbation' is missing (the nearest present column is 'pertubation_name')" in message
    assert "plates.csv" in message
    assert "columns: {perturbation: pertubation_name}" in message
    assert "constants" in message


def test_every_broken_rule_is_named_at_once_with_at_most_five_rows_each():
    frame = _table(well="ZZ99", is_negative_control="maybe", concentration_um=-1, perturbation_type="laser")
    message = _refusal(frame)
    assert "breaks 5 rules" in message
    for rule in (
        "well must be",
        "is_negative_control must",
        "concentration_um must",
        "perturbation_type must",
        "key",
    ):
        assert rule in message
    for line in message.splitlines()[1:]:
        assert len(re.findall(r"row \d+: ", line)) == 5
        assert "and 6 more rows" in line


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"site": 1.5}, "site must be a whole number"),
        ({"object": -1}, "object must be a whole number"),
        ({"timepoint_h": "soon"}, "timepoint_h must be a number"),
        ({"plate": ""}, "plate must have 1 to 100 characters"),
        ({"experiment": "x" * 101}, "experiment must have 1 to 100 characters"),
        ({"is_negative_control": True, "is_positive_control": True}, "a negative and a positive control"),
        ({"channels": "DNA|DNA"}, "channels must be different"),
        ({"channels": "DNA|"}, "channels must be different"),
        ({"concentration_um": np.inf}, "concentration_um must be a number"),
    ],
)
def test_each_rule_refuses_what_breaks_it(columns, words):
    assert words in _refusal(_table(**columns))


def test_a_control_must_say_of_which_kind_it_is():
    frame = _table(
        perturbation_type="control", control_type="", is_negative_control=False, is_positive_control=False
    )
    assert "control needs is_negative_control" in _refusal(frame)


def test_the_number_of_locators_is_one_or_one_per_channel():
    frame = _table(channels="DNA|ER|RNA")
    frame["image"] = [["a.tif", "b.tif"]] * len(frame)
    assert "one locator, or one per channel" in _refusal(frame)


def test_the_same_plate_name_in_two_experiments_is_two_plates():
    frame = pd.concat([tiny_plate("E1", "P1"), tiny_plate("E2", "P1")], ignore_index=True)
    assert len(parse_wells(frame, source="t")) == len(frame)


def test_a_repeated_key_names_the_rows_that_share_it():
    frame = pd.concat([_table(), _table().iloc[[2]]], ignore_index=True)
    message = _refusal(frame)
    assert "must be unique" in message and "row 3:" in message and "row 12:" in message


def test_a_table_without_rows_or_with_one_column_twice_is_refused():
    assert "no rows" in _refusal(_table().iloc[:0])
    frame = _table()
    frame.columns = ["well" if name == "site" else name for name in frame.columns]
    assert "occurs twice" in _refusal(frame)


def test_a_field_without_perturbation_is_parsed_because_curation_decides_about_it():
    wells = parse_wells(_table(perturbation="", perturbation_type=""), source="t").frame
    assert wells["perturbation"].eq("").all()


def test_the_field_id_is_the_same_in_every_version():
    # the first 20 hexadecimal digits of the sha256 of the key's parts, joined by the unit separator
    key = ("tiny", "E1", "P1", "B02", 1, 0)
    assert field_id(key) == hashlib.sha256(b"tiny\x1fE1\x1fP1\x1fB02\x1f1\x1f0").hexdigest()[:20]


@given(
    st.lists(
        st.tuples(
            *[st.text(min_size=1, max_size=5, alphabet="ab1")] * 4, st.integers(0, 20), st.integers(0, 20)
        ),
        min_size=1,
        unique=True,
    )
)
def test_different_keys_have_different_ids_and_equal_keys_equal_ones(keys):
    ids = field_ids(pd.DataFrame(keys, columns=list(FIELD_KEY)))
    assert len(set(ids)) == len(keys)
    assert ids == [field_id(key) for key in keys]


@given(
    st.fixed_dictionaries(
        {
            name: st.one_of(st.text(max_size=4), st.integers(-3, 3), st.floats(), st.none(), st.booleans())
            for name in COLUMNS
        }
    )
)
def test_any_row_is_parsed_or_refused_with_a_user_error(row):
    try:
        wells = parse_wells(pd.DataFrame([row]).astype(object), source="t").frame
    except UserError as refused:
        assert "row 1" in str(refused)
    else:
        pd.testing.assert_frame_equal(parse_wells(wells, source="t").frame, wells)


def test_the_nearest_name_ignores_case_and_is_none_when_nothing_is_alike():
    assert nearest_name("gene", ["Gene_Symbol", "GENE", "plate"]) == "GENE"
    assert nearest_name("perturbation", ["x", "y"]) is None
