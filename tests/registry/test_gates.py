"""Gates on rows: each condition, in both directions, and what is missing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from phenoscale.errors import UserError
from phenoscale.registry.config import Gate, default_gates
from phenoscale.registry.evidence import Evidence
from phenoscale.registry.gates import check_null, evaluate_gates
from phenoscale.schema.rows import Row, canonical_setting


def row(encoder: str, value: float, *, metric: str = "recall", source: str = "CORUM", **setting: Any) -> Row:
    benchmark = "recall" if metric.endswith("recall") else "batch_effect"
    return Row(
        benchmark,
        source,
        metric,
        canonical_setting(**setting),
        value,
        value - 0.02,
        value + 0.02,
        encoder=encoder,
    )


def evidence(*rows: Row) -> Evidence:
    return Evidence(tuple(rows), names=("trained", "d" * 64), untrained="untrained")


def outcome(gate: Gate, *rows: Row, champion: Evidence | None = None) -> tuple[bool, str]:
    [result] = evaluate_gates([gate], evidence=evidence(*rows), champion=champion)
    return result.passed, result.sentence()


def test_at_least_compares_the_number_that_was_asked_for() -> None:
    gate = Gate(benchmark="recall", metric="recall", at_least=0.4)
    assert outcome(gate, row("trained", 0.4))[0]
    low = gate.model_copy(update={"number": "low"})
    assert not outcome(low, row("trained", 0.41))[0]
    assert outcome(low, row("trained", 0.43))[0]


def test_smaller_is_better_turns_the_comparison_around() -> None:
    gate = Gate(benchmark="batch_effect", metric="accuracy", at_least=0.2, higher_is_better=False)
    assert outcome(gate, row("trained", 0.15, metric="accuracy"))[0]
    held, sentence = outcome(gate, row("trained", 0.25, metric="accuracy"))
    assert not held
    assert "asked for at most 0.2000 (misses 0.2000 by 0.0500)" in sentence


def test_rows_are_found_by_name_or_digest_and_by_their_setting() -> None:
    gate = Gate(benchmark="recall", metric="recall", where={"step": "final"}, at_least=0.4)
    rows = [
        row("d" * 64, 0.5, step="final"),
        row("d" * 64, 0.1, step="0_none"),
        row("other", 0.0, step="final"),
    ]
    assert outcome(gate, *rows)[0]


def test_several_rows_are_judged_by_their_mean() -> None:
    gate = Gate(benchmark="recall", metric="recall", at_least=0.3)
    assert "0.3000" in outcome(gate, row("trained", 0.2), row("trained", 0.4, source="Reactome"))[1]


def test_above_untrained_is_strict_and_needs_the_untrained_row() -> None:
    gate = Gate(benchmark="recall", metric="recall", above_untrained=True)
    assert outcome(gate, row("trained", 0.4), row("untrained", 0.39))[0]
    assert not outcome(gate, row("trained", 0.4), row("untrained", 0.4))[0]
    held, sentence = outcome(gate, row("trained", 0.4))
    assert (held, "the untrained encoder has no such row" in sentence) == (False, True)


def test_the_champion_may_be_missed_by_no_more_than_the_slack() -> None:
    gate = Gate(benchmark="recall", metric="recall", not_below_champion_by=0.05)
    champion = evidence(row("trained", 0.45))
    assert outcome(gate, row("trained", 0.4001), champion=champion)[0]
    assert not outcome(gate, row("trained", 0.39), champion=champion)[0]
    assert outcome(gate, row("trained", 0.1), champion=None)[0]


def test_a_champion_without_the_row_is_not_beaten_unless_the_gate_lets_it_pass() -> None:
    gate = Gate(benchmark="recall", metric="recall", not_below_champion_by=0.05)
    held, sentence = outcome(gate, row("trained", 0.1), champion=evidence())
    assert (held, "the champion has no such row" in sentence) == (False, True)
    lenient = gate.model_copy(update={"if_absent": "pass"})
    assert outcome(lenient, row("trained", 0.1), champion=evidence())[0] is True


def test_a_missing_row_fails_unless_the_gate_lets_it_pass() -> None:
    gate = Gate(benchmark="recall", metric="recall", at_least=0.4)
    assert outcome(gate)[0] is False
    assert outcome(gate.model_copy(update={"if_absent": "pass"}))[0] is True


def known_rows() -> list[Row]:
    """Rows with which every gate holds that nobody wrote."""
    tails = {"step": "final", "lower": 0.05, "upper": 0.95}
    return [
        *(row(name, value, **tails) for name, value in (("trained", 0.5), ("untrained", 0.2))),
        *(
            Row("probe", "moa", "balanced_accuracy", canonical_setting(chosen=True), value, encoder=name)
            for name, value in (("trained", 0.5), ("untrained", 0.2))
        ),
    ]


def test_the_gates_that_nobody_wrote_hold_where_their_rows_are_good() -> None:
    found = evaluate_gates(default_gates(), evidence=evidence(*known_rows()), champion=None)
    assert [result.passed for result in found] == [True, True, True]


@pytest.mark.parametrize("metric", ["recall", "balanced_accuracy"])
def test_a_renamed_metric_promotes_nothing(metric: str) -> None:
    renamed = [
        replace(each, metric=each.metric + "_2") if each.metric == metric else each for each in known_rows()
    ]
    found = evaluate_gates(default_gates(), evidence=evidence(*renamed), champion=None)
    assert not all(result.passed for result in found)


def test_a_gate_that_asks_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="asks nothing"):
        Gate(benchmark="recall", metric="recall")


def test_the_null_check_reads_the_lower_end_against_chance() -> None:
    assert check_null(evidence(row("trained", 0.13, chance=0.1, step="final"))).passed
    assert not check_null(evidence(row("trained", 0.12, chance=0.1, step="final"))).passed


def test_a_measured_null_above_chance_raises_the_bar() -> None:
    null = row("", 0.15, metric="null_recall", chance=0.1)
    assert not check_null(evidence(row("trained", 0.16, chance=0.1, step="final"), null)).passed
    assert check_null(evidence(row("trained", 0.18, chance=0.1, step="final"), null)).passed


def test_uncorrected_recall_does_not_pass_the_null_check() -> None:
    assert not check_null(evidence(row("trained", 0.9, chance=0.1, step="0_none"))).passed
