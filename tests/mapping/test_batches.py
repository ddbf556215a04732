"""Batches: a plate is unique only inside its experiment, that only inside its screen; controls are named."""

import numpy as np
import pandas as pd
import pytest

from phenoscale.errors import UserError
from phenoscale.mapping.batches import (
    batch_labels,
    batch_positions,
    chosen_wells,
    negative_controls,
    refuse_small_batches,
    rows_by_label,
)

_FRAME = pd.DataFrame({"screen": "s", "experiment": ["a", "a", "b"], "plate": ["1", "2", "1"]})


def test_plates_of_two_experiments_are_two_batches():
    assert batch_labels(_FRAME, "plate").tolist() == ["s/a/1", "s/a/2", "s/b/1"]
    assert batch_labels(_FRAME, "experiment").tolist() == ["s/a", "s/a", "s/b"]
    assert len(set(batch_labels(_FRAME, "none"))) == 1


def test_equal_names_in_two_screens_are_two_batches():
    both = pd.concat([_FRAME, _FRAME.assign(screen="t")])
    assert len(set(batch_labels(both, "plate"))) == 6
    assert len(set(batch_labels(both, "experiment"))) == 4


def test_a_missing_batch_column_is_named_with_a_way_out():
    with pytest.raises(UserError, match=r"lack the columns \['plate'\].*batch_key: none"):
        batch_labels(_FRAME[["screen", "experiment"]], "plate")
    with pytest.raises(UserError, match=r"but across: plate needs .* or set across: any$"):
        batch_labels(
            _FRAME[["screen", "experiment"]], "plate", needed_by="across: plate", way_out="set across: any"
        )


def test_rows_are_grouped_in_their_order():
    groups = rows_by_label(np.array(["b", "a", "b", "a", "c"]))
    assert {name: rows.tolist() for name, rows in groups.items()} == {"a": [1, 3], "b": [0, 2], "c": [4]}


def test_a_screen_without_negative_controls_is_refused():
    frame = _FRAME.assign(is_negative_control=False)
    with pytest.raises(UserError, match="none of the 3 wells is one"):
        chosen_wells(frame, "negative_controls", step="center")
    assert chosen_wells(frame, "all", step="center").all()


def test_small_batches_are_named_with_their_counts():
    with pytest.raises(
        UserError, match=r"at least 3 negative controls.*a/1 \(0\), b/1 \(2\); set fallback: pooled"
    ):
        refuse_small_batches(
            {"a/1": 0, "a/2": 9, "b/1": 2}, minimum=3, step="center", statistics="negative_controls"
        )


def test_a_batch_that_was_not_fitted_is_refused():
    with pytest.raises(UserError, match=r"not fitted on the batches \['c'\]"):
        batch_positions(np.array(["a", "c"]), known={"a": 0, "b": 1}, step="tvn")


@pytest.mark.parametrize(
    "given",
    [["True", "FALSE", "false"], ["1", "0", ""], [1, 0, None], [1.0, 0.0, np.nan], [True, False, None]],
)
def test_flags_are_read_from_text_and_numbers(given):
    found = negative_controls(pd.DataFrame({"is_negative_control": given}))
    assert found.dtype == np.bool_ and found.tolist() == [True, False, False]


@pytest.mark.parametrize("given", [["yes", "no"], [2, 0], ["DMSO", "true"]])
def test_other_flags_are_refused_by_value(given):
    with pytest.raises(UserError, match=rf"`is_negative_control` holds .*{given[0]}.* true or false"):
        negative_controls(pd.DataFrame({"is_negative_control": given}))
