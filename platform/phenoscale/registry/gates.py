"""Written gates evaluated on evidence, and the checks that no encoder is registered without.

The null check: relabelling the perturbations of a map at random leaves the share `lower + 1 - upper` of any
pairs in its tails, so that share (`chance` in a row's setting, or a `null_recall` row where one was measured)
is what a map without knowledge recalls. The lower end of the corrected recall's interval must lie above it.
Without known relationships the probe stands in: balanced accuracy above chance, and above the untrained
encoder's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from phenoscale.errors import UserError
from phenoscale.registry.config import Gate
from phenoscale.registry.evidence import Evidence, matching, mean_number
from phenoscale.schema.rows import BALANCED_ACCURACY, CHANCE, FINAL, NULL_RECALL, PROBE, RECALL, STEP, Row

_RECALL = Gate(benchmark=RECALL, metric=RECALL, where={STEP: FINAL}, at_least=0.0)
_NULL_RECALL = Gate(benchmark=RECALL, metric=NULL_RECALL, at_least=0.0)
_PROBE = Gate(benchmark=PROBE, metric=BALANCED_ACCURACY, where={"chosen": True}, at_least=0.0)
_CHANCE = Gate(benchmark=PROBE, metric=BALANCED_ACCURACY, where={"features": CHANCE}, at_least=0.0)


@dataclass(frozen=True)
class GateResult:
    """What became of one gate.

    Attributes:
        gate: its title.
        passed: whether it holds.
        value: the candidate's number, None when it has no such row.
        asked: what was asked for, in words and numbers.
        note: why it failed, or why it could not be asked.
    """

    gate: str
    passed: bool
    value: float | None
    asked: str
    note: str = ""

    def sentence(self) -> str:
        """The result for an error message."""
        value = "no such row" if self.value is None else f"{self.value:.4f}"
        return f"{self.gate}: {value}, asked for {self.asked}" + (f" ({self.note})" if self.note else "")


def evaluate_gates(
    gates: Sequence[Gate], *, evidence: Evidence, champion: Evidence | None
) -> tuple[GateResult, ...]:
    """Evaluate every gate; `champion` is None when there is none to compare with."""
    return tuple(_evaluate(gate, evidence=evidence, champion=champion) for gate in gates)


def check_null(evidence: Evidence) -> GateResult:
    """Whether the encoder knows more than nothing: by the row with the most pairs, or the chosen probe."""
    recall = matching(evidence.rows, gate=_RECALL, encoders=evidence.names)
    if recall:
        return _recall_above_null(max(recall, key=lambda row: (_is_main(row, recall), row.n)), evidence)
    probes = matching(evidence.rows, gate=_PROBE, encoders=evidence.names)
    if probes:
        return _probe_above_null(probes[0], evidence)
    return GateResult(
        "null check",
        passed=False,
        value=None,
        asked="recall or probe rows",
        note="nothing speaks for this encoder",
    )


def _recall_above_null(row: Row, evidence: Evidence) -> GateResult:
    settings = row.settings
    measured = [
        null
        for null in matching(evidence.rows, gate=_NULL_RECALL, encoders=(*evidence.names, ""))
        if null.source in ("", row.source)
    ]
    chance = float(settings.get(CHANCE, settings.get("lower", 0.05) + 1 - settings.get("upper", 0.95)))
    bar = max([chance, *(null.value for null in measured if null.value is not None)])
    low = row.low if row.low is not None else row.value
    return GateResult(
        "null check",
        passed=low is not None and low > bar,
        value=low,
        asked=f"lower end of corrected recall of {row.source or 'known pairs'} above the null's {bar:.4f}",
        note="" if low is not None and low > bar else "no better than relabelled perturbations",
    )


def _probe_above_null(row: Row, evidence: Evidence) -> GateResult:
    chances = [
        other for other in matching(evidence.rows, gate=_CHANCE, encoders=("",)) if other.source == row.source
    ]
    untrained = [
        other
        for other in matching(evidence.rows, gate=_PROBE, encoders=(evidence.untrained,))
        if other.source == row.source
    ]
    bars = [*(other.value for other in chances[:1]), *(other.value for other in untrained[:1])]
    bar = max([value for value in bars if value is not None], default=1.0)
    low = row.low if row.low is not None else row.value
    chance = chances[0].value if chances else None
    above = row.value is not None and row.value > bar and low is not None and low > (chance or 0.0)
    return GateResult(
        "null check",
        passed=above,
        value=row.value,
        asked=f"balanced accuracy of {row.source} above chance and the untrained encoder, {bar:.4f}",
        note="" if above else "no better than guessing or random weights",
    )


def _is_main(row: Row, rows: Sequence[Row]) -> bool:
    """Whether a row has the tails that recall is quoted at: those of the first row."""
    return bool(row.settings.get("lower") == rows[0].settings.get("lower"))


def _evaluate(gate: Gate, *, evidence: Evidence, champion: Evidence | None) -> GateResult:
    value = mean_number(evidence.of_encoder(gate), number=gate.number)
    if value is None:
        passes = gate.if_absent == "pass"
        note = "the candidate has no such row; the gate lets that pass"
        if not passes:
            note = "where none is to be expected, leave the gate out or give it if_absent: pass"
        return GateResult(gate.title, passed=passes, value=None, asked=_asked(gate), note=note)
    problems: list[str] = []
    notes: list[str] = []
    asked: list[str] = []
    for condition in _conditions(gate, evidence=evidence, champion=champion):
        if condition.bar is None:
            (notes if condition.absent_passes else problems).append(condition.absent)
            continue
        asked.append(f"{condition.words} {condition.bar:.4f}")
        gain = value - condition.bar if gate.higher_is_better else condition.bar - value
        if gain < 0 or (condition.is_strict and gain <= 0):
            problems.append(f"misses {condition.bar:.4f} by {-gain:.4f}")
    words = " and ".join(asked) or _asked(gate)
    return GateResult(
        gate.title, passed=not problems, value=value, asked=words, note="; ".join([*problems, *notes])
    )


@dataclass(frozen=True)
class _Condition:
    words: str
    bar: float | None
    is_strict: bool
    absent: str
    absent_passes: bool


def _conditions(gate: Gate, *, evidence: Evidence, champion: Evidence | None) -> list[_Condition]:
    better, least = ("above", "at least") if gate.higher_is_better else ("below", "at most")
    found = []
    if gate.at_least is not None:
        found.append(_Condition(least, gate.at_least, False, "", absent_passes=False))
    if gate.above_untrained:
        bar = mean_number(evidence.of_untrained(gate), number="value")
        absent = "the untrained encoder has no such row"
        found.append(_Condition(f"{better} the untrained encoder's", bar, True, absent, absent_passes=False))
    if gate.not_below_champion_by is not None:
        slack = gate.not_below_champion_by if gate.higher_is_better else -gate.not_below_champion_by
        held = None if champion is None else mean_number(champion.of_encoder(gate), number="value")
        absent = "there is no champion yet" if champion is None else "the champion has no such row"
        passes = champion is None or gate.if_absent == "pass"
        bar = None if held is None else held - slack
        found.append(_Condition(f"{least} the champion's, less {abs(slack):g},", bar, False, absent, passes))
    return found


def _asked(gate: Gate) -> str:
    parts = []
    if gate.at_least is not None:
        parts.append(f"{'at least' if gate.higher_is_better else 'at most'} {gate.at_least:.4f}")
    if gate.above_untrained:
        parts.append("better than the untrained encoder")
    if gate.not_below_champion_by is not None:
        parts.append(f"worse than the champion by at most {gate.not_below_champion_by:g}")
    return " and ".join(parts)


def require_null_check(evidence: Evidence) -> GateResult:
    """The result of the null check.

    Raises:
        UserError: the encoder fails it.
    """
    result = check_null(evidence)
    if not result.passed:
        raise UserError(
            f"this encoder fails the null check: {result.sentence()}; train longer or on more data, or check "
            "labels and correction steps, then benchmark again"
        )
    return result
