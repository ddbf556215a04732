"""Rows sorted for drawing."""

from __future__ import annotations

from typing import Any

from phenoscale.reports.benchmark_rows import (
    before_and_after,
    headline_recall,
    recall_tables,
    skipped,
    step_label,
)
from phenoscale.schema.rows import Row, canonical_setting


def recall(encoder: str, value: float, *, step: str, lower: float = 0.05, n: int = 200, **more: Any) -> Row:
    source = more.pop("source", "pairs")
    setting = canonical_setting(step=step, lower=lower, upper=1 - lower, chance=round(2 * lower, 12), **more)
    return Row("recall", source, "recall", setting, value, value - 0.1, value + 0.1, n=n, encoder=encoder)


ROWS = [
    recall("untrained", 0.2, step="0_none"),
    recall("untrained", 0.2, step="0_none", lower=0.1),
    recall("untrained", 0.25, step="10_tvn"),
    recall("untrained", 0.25, step="2_center_scale"),
    recall("untrained", 0.25, step="final"),
    recall("trained", 0.3, step="0_none"),
    recall("trained", 0.5, step="final"),
    recall("oracle", 0.9, step="final"),
]


def test_steps_stand_in_the_order_of_their_numbers_and_encoders_trained_first() -> None:
    [table] = recall_tables(ROWS)
    assert table.steps == ["0_none", "2_center_scale", "10_tvn"]
    assert table.encoders == ["trained", "untrained"]
    assert table.chance == 0.1


def test_only_the_quoted_tails_are_compared() -> None:
    [table] = recall_tables(ROWS)
    assert {row.settings["lower"] for row in table.rows} == {0.05}
    found = table.find("trained", step="final")
    assert found is not None
    assert found.value == 0.5


def test_a_single_map_without_steps_has_the_one_step_final() -> None:
    [table] = recall_tables([recall("trained", 0.5, step="final")])
    assert table.steps == ["final"]


def test_cell_types_and_sources_have_tables_of_their_own() -> None:
    rows = [
        recall("trained", 0.4, step="final", cell_type="HUVEC", timepoint_h=72),
        recall("trained", 0.5, step="final", cell_type="U2OS", timepoint_h=72),
        recall("trained", 0.6, step="final", source="CORUM", n=900),
    ]
    tables = recall_tables(rows)
    assert [(table.source, table.stratum) for table in tables] == [
        ("pairs", "HUVEC, 72"),
        ("pairs", "U2OS, 72"),
        ("CORUM", ""),
    ]
    headline = headline_recall(rows)
    assert headline is not None
    assert headline.source == "CORUM"


def test_rows_without_a_value_are_not_drawn() -> None:
    empty = Row("recall", "pairs", "recall", canonical_setting(step="final"), None, encoder="trained")
    assert recall_tables([empty]) == []
    assert before_and_after([empty], benchmark="recall") == []


def test_the_reason_of_a_skipped_benchmark_is_found() -> None:
    row = Row("moa", "", "skipped", canonical_setting(reason="the wells have no `moa` column"))
    assert skipped([row], benchmark="moa") == "the wells have no `moa` column"
    assert skipped([row], benchmark="recall") == ""


def test_steps_are_written_as_people_call_them() -> None:
    assert [step_label(step) for step in ("0_none", "1_center_scale", "3_tvn", "final", "4_my_step")] == [
        "no correction",
        "center-scale",
        "TVN",
        "corrected",
        "my step",
    ]
