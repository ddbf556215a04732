"""Keys as texts: two rows share a text exactly when they share a key, whatever their names are."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from phenoscale.schema.keys import EXPERIMENT_KEY, PLATE_KEY
from phenoscale.schema.labels import key_labels, short_labels, with_screen

_NAMES = st.sampled_from(["a", "b", "a/b", "b/a", "%2F", "%", "a%2Fb", "é"])
_PLATES = st.lists(st.tuples(_NAMES | st.just(""), _NAMES, _NAMES), min_size=1, max_size=30)


@given(_PLATES)
def test_plates_have_one_text_exactly_when_they_have_one_key(plates):
    labels = key_labels(pd.DataFrame(plates, columns=list(PLATE_KEY)), PLATE_KEY)
    by_label = dict(zip(labels.tolist(), plates, strict=True))
    assert [by_label[label] for label in labels.tolist()] == plates


@given(_PLATES)
def test_short_texts_tell_the_same_plates_apart(plates):
    frame = pd.DataFrame(plates, columns=list(PLATE_KEY))
    short, whole = short_labels(frame, "plate"), key_labels(frame, PLATE_KEY)
    assert len(set(zip(short.tolist(), whole.tolist(), strict=True))) == len(set(short)) == len(set(whole))


def test_a_name_is_as_short_as_the_table_allows():
    frame = pd.DataFrame({"screen": "s", "experiment": ["e", "e", "f"], "plate": ["1", "2", "3"]})
    assert short_labels(frame, "plate").tolist() == ["1", "2", "3"]
    assert short_labels(frame.assign(plate="1"), "plate").tolist() == ["e/1", "e/1", "f/1"]
    two = pd.concat([frame, frame.assign(screen="t")])
    assert short_labels(two, "experiment").tolist() == ["s/e", "s/e", "s/f", "t/e", "t/e", "t/f"]


def test_the_unnamed_screen_is_left_out_of_texts():
    frame = with_screen(pd.DataFrame({"experiment": ["e"], "plate": ["p"]}))
    assert key_labels(frame, PLATE_KEY).tolist() == ["e/p"]
    assert key_labels(frame.assign(screen="s"), EXPERIMENT_KEY).tolist() == ["s/e"]


def test_only_tables_of_wells_without_a_screen_get_one():
    named = pd.DataFrame({"screen": ["s"], "plate": ["p"]})
    bare = pd.DataFrame({"perturbation": ["a"]})
    assert with_screen(named) is named and with_screen(bare) is bare
    assert list(with_screen(named.drop(columns="screen"))) == ["screen", "plate"]


def test_an_empty_table_has_no_texts():
    frame = pd.DataFrame({name: pd.Series(dtype=str) for name in PLATE_KEY})
    assert key_labels(frame, PLATE_KEY).tolist() == np.empty(0, str).tolist()
    assert short_labels(frame, "plate").tolist() == []
