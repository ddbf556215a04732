"""Published numbers beside own rows: found by what was measured, marked where the setting differs."""

from phenoscale.benchmarks.published.comparison import compare
from phenoscale.schema.rows import Row, canonical_setting

_PUBLISHED = (
    Row(
        "recall", "HuMAP", "recall", canonical_setting(lower=0.05, upper=0.95, dataset="A"), 0.4, citation="X"
    ),
    Row(
        "recall", "HuMAP", "recall", canonical_setting(lower=0.05, upper=0.95, dataset="B"), 0.5, citation="Y"
    ),
    Row("recall", "CORUM", "recall", canonical_setting(lower=0.05, upper=0.95), 0.6, citation="X"),
    Row("consistency", "replicates", "ks", canonical_setting(block=24), 0.5, citation="Z"),
)


def _own(source="humap", metric="recall", benchmark="recall", **settings):
    return Row(benchmark, source, metric, canonical_setting(**settings), 0.3, 0.2, 0.4, n=9, encoder="mine")


def test_a_source_is_found_however_it_is_spelled():
    (found,) = compare([_own(source="hu.MAP", lower=0.05, upper=0.95)], published=_PUBLISHED)
    assert [number.row.citation for number in found.published] == ["X", "Y"]
    assert found.name == "recall hu.MAP"


def test_settings_that_differ_are_named_and_those_that_nobody_said_too():
    (found,) = compare([_own(lower=0.1, upper=0.95)], published=_PUBLISHED, facts={"dataset": "a"})
    first, second = found.published
    assert (first.differs, first.unknown) == ({"lower": "0.1"}, ())
    assert second.differs == {"lower": "0.1", "dataset": "a"}
    assert first.mark == "differs in lower (here 0.1)"
    (silent,) = compare([_own(lower=0.05, upper=0.95)], published=_PUBLISHED)
    assert silent.published[0].mark == "not known here: dataset"


def test_the_same_setting_carries_no_mark():
    (found,) = compare([_own(lower=0.05, upper=0.95)], published=_PUBLISHED, facts={"dataset": "A"})
    assert found.published[0].mark == ""


def test_rows_at_other_tails_do_not_show_the_published_numbers_again():
    rows = [_own(lower=0.05, upper=0.95), _own(lower=0.1, upper=0.9), _own(lower=0.2, upper=0.8)]
    (found,) = compare(rows, published=_PUBLISHED)
    assert found.own == (rows[0],)
    (other,) = compare(rows[2:], published=_PUBLISHED)
    assert other.own == (rows[2],)


def test_rows_without_value_or_without_counterpart_are_left_out():
    empty = Row("recall", "CORUM", "recall", canonical_setting(lower=0.05, upper=0.95))
    assert compare([empty, _own(source="mine"), *_PUBLISHED], published=_PUBLISHED) == []


def test_a_number_published_as_one_stands_beside_both_ways_of_measuring_it():
    rows = [_own("replicates", "ks_mean", "consistency"), _own("replicates", "ks_pooled", "consistency")]
    (found,) = compare(rows, published=_PUBLISHED)
    assert [row.metric for row in found.own] == ["ks_mean", "ks_pooled"]
    assert found.published[0].row.citation == "Z"


def test_numbers_of_other_wells_are_no_counterpart():
    rows = [
        Row("jump_detection", "", "fraction_retrieved", canonical_setting(cell_type="U2OS", timepoint_h=24))
    ]
    published = [
        Row(
            "jump_detection",
            "",
            "fraction_retrieved",
            canonical_setting(cell_type=cell_type, timepoint_h=hours),
            0.7,
            citation="X",
        )
        for cell_type, hours in (("U2OS", 24), ("U2OS", 48), ("A549", 24))
    ]
    own = [Row(**{**rows[0].__dict__, "value": 0.742})]
    (found,) = compare(own, published=published)
    assert [number.row for number in found.published] == published[:1]


def test_rows_that_state_no_source_stand_beside_every_source_with_the_dataset_as_unknown():
    published = [
        Row(
            "jump_detection",
            source,
            "fraction_retrieved",
            canonical_setting(dataset=source),
            0.5,
            citation="X",
        )
        for source in ("CPJUMP1", "other")
    ]
    silent = _own("", "fraction_retrieved", "jump_detection", p_values="geometric-mean")
    found = compare([silent], published=published)
    assert [(one.name, one.published[0].mark) for one in found] == [
        ("jump_detection fraction_retrieved", "not known here: dataset")
    ] * 2
    (named,) = compare([_own("cpjump1", "fraction_retrieved", "jump_detection")], published=published)
    assert [number.row.source for number in named.published] == ["CPJUMP1"]
    assert not compare([_own("mine", "fraction_retrieved", "jump_detection")], published=published)
