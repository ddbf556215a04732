"""Fields become wells: the mean of the fields, and the columns on which they agree."""

import numpy as np
import pandas as pd
import pytest

from phenoscale.errors import UserError
from phenoscale.inference.tables import average_wells, field_columns
from phenoscale.schema.embeddings import EmbeddingTable


def field_table(**columns):
    frame = pd.DataFrame(
        {
            "screen": "S",
            "experiment": "E1",
            "plate": ["P1", "P1", "P1", "P2"],
            "well": ["B02", "B03", "B02", "B02"],
            "site": [1, 1, 2, 1],
            "object": 0,
            "field_id": ["a", "b", "c", "d"],
            "perturbation": ["x", "y", "x", "z"],
            "is_negative_control": [False, True, False, False],
            "concentration_um": [1.0, np.nan, 1.0, 2.0],
            "quality": ["", "", "dim", "dim"],
            "moa": ["m", "n", "m", None],
            "num_crops": [4, 4, 1, 4],
            **columns,
        }
    )
    embeddings = np.array([[1.0, 0.0], [5.0, 5.0], [3.0, 4.0], [7.0, 7.0]], dtype=np.float32)
    return EmbeddingTable(frame=frame, embeddings=embeddings, level="field", encoder="e", block=2)


def test_a_well_is_the_mean_of_its_fields_whatever_their_number_of_crops():
    wells = average_wells(field_table())
    assert wells.frame[["plate", "well"]].to_numpy().tolist() == [["P1", "B02"], ["P1", "B03"], ["P2", "B02"]]
    np.testing.assert_array_equal(wells.embeddings, [[2.0, 2.0], [5.0, 5.0], [7.0, 7.0]])
    assert wells.embeddings.dtype == np.float32
    assert wells.frame["num_crops"].tolist() == [5, 4, 4]
    assert wells.frame["num_fields"].tolist() == [2, 1, 1]
    assert (wells.level, wells.encoder, wells.block) == ("well", "e", 2)


def test_columns_of_the_well_ride_along_and_those_of_a_field_do_not():
    frame = average_wells(field_table()).frame
    assert frame["perturbation"].tolist() == ["x", "y", "z"]
    assert frame["is_negative_control"].tolist() == [False, True, False]
    assert frame["moa"].tolist()[:2] == ["m", "n"]
    assert not {"site", "object", "field_id"} & set(frame.columns)


def test_a_column_on_which_the_fields_differ_is_empty_for_the_well():
    frame = average_wells(field_table(stage_um=[10.0, 11.0, 12.0, 13.0])).frame
    assert frame["quality"].tolist() == ["", "", "dim"]
    assert np.isnan(frame["stage_um"][0])
    assert frame["stage_um"].tolist()[1:] == [11.0, 13.0]


def test_a_missing_value_beside_a_present_one_counts_as_a_difference():
    frame = average_wells(field_table(score=[1.0, 2.0, np.nan, 3.0])).frame
    assert np.isnan(frame["score"][0])


def test_a_column_of_lists_rides_along():
    frame = average_wells(field_table(tags=[["a"], ["b"], ["a"], []])).frame
    assert frame["tags"].tolist() == [["a"], ["b"], []]


def test_a_well_with_two_perturbations_is_refused():
    with pytest.raises(
        UserError, match=r"well S/E1/P1/B02 holds the perturbation \['x', 'q'\].*outputs: \[field\]"
    ):
        average_wells(field_table(perturbation=["x", "y", "q", "z"]))


def test_wells_of_the_same_address_on_other_plates_and_screens_stay_apart():
    wells = average_wells(field_table(screen=["S", "S", "T", "S"], perturbation=["x", "y", "w", "z"]))
    assert len(wells) == 4


def test_field_columns_leave_out_where_the_pixels_are_and_keep_unknown_columns():
    frame = pd.DataFrame(
        {
            "moa": ["m"],
            "plate_index": [0],
            "image": [["a.tif"]],
            "weight": [1.0],
            "well": ["B02"],
            "screen": ["S"],
        }
    )
    assert field_columns(frame).columns.tolist() == ["screen", "well", "moa"]
