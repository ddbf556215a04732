"""At a glance: the headline numbers and what they say in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from phenoscale.reports.benchmark_rows import RecallTable, headline_recall, source_label
from phenoscale.reports.figures.palette import encoder_label
from phenoscale.reports.inputs import ReportInputs
from phenoscale.reports.markup import (
    Markup,
    card,
    cards,
    duration,
    interval,
    join,
    missing,
    paragraph,
    percent,
    plural,
    tag,
)
from phenoscale.reports.probe_rows import choosing_row
from phenoscale.schema.rows import BEFORE, FINAL, NSC_ACCURACY, ORACLE, STEP, Row

UNTRAINED = "untrained"


def subtitle(inputs: ReportInputs) -> str:
    """What this page is about, in one line."""
    parts = []
    if inputs.screen is not None:
        parts.append(f"Screen “{inputs.screen.header.screen}”")
        parts.append(plural(len(inputs.screen.header.plates), "plate"))
    if inputs.encoder is not None:
        parts.append(inputs.encoder.describe())
    started = [str(node.record.get("started", ""))[:10] for node in inputs.ancestry.stages.values()]
    if any(started):
        parts.append(f"computed {max(started)}")
    return " · ".join(parts) or "Outputs of a Phenoscale pipeline"


def overview(inputs: ReportInputs) -> Markup:
    """Cards, and the same in sentences."""
    recall = headline_recall(inputs.rows)
    shown = [
        *(_recall_cards(recall, shown=inputs.shown) if recall else []),
        *_probe_cards(inputs),
        *_moa_cards(inputs.rows, shown=inputs.shown),
        *_training_cards(inputs),
        *_registry_cards(inputs),
        *_time_cards(inputs),
    ]
    content = cards(shown) if shown else missing("None of the inputs has a headline number.")
    sentence = _in_words(recall, inputs) if recall else None
    return tag("section", tag("h2", "At a glance"), sentence, content, id="glance")


def _in_words(recall: RecallTable, inputs: ReportInputs) -> Markup | None:
    trained = recall.find(inputs.shown, step=FINAL)
    if trained is None or trained.value is None:
        return None
    text = (
        f"After correction the map of the {encoder_label(inputs.shown)} recalls "
        f"{percent(trained.value)} of the known relationships ({source_label(recall.source)}), "
        f"{_times(trained.value, recall.chance)} what chance gives"
    )
    others = []
    for name in recall.encoders:
        row = recall.find(name, step=FINAL)
        if name != inputs.shown and row is not None and row.value is not None:
            others.append(f"{encoder_label(name)} {percent(row.value)}")
    oracle = recall.find(ORACLE, step=FINAL)
    if oracle is not None and oracle.value is not None:
        others.append(f"planted truth {percent(oracle.value)}")
    text += f" ({', '.join(others)})." if others else "."
    before = recall.find(inputs.shown, step=BEFORE)
    if before is not None and before.value is not None:
        change = trained.value - before.value
        word = "left it at" if abs(change) < 0.005 else "raised it from" if change > 0 else "lowered it from"
        text += f" Correction {word} {percent(before.value)}."
    return paragraph(text)


def _times(value: float, chance: float) -> str:
    return f"{value / chance:.1f} times" if chance else "against"


def _recall_cards(recall: RecallTable, *, shown: str) -> list[Markup]:
    found = []
    row = recall.find(shown, step=FINAL) or next((row for row in recall.rows if row.encoder != ORACLE), None)
    if row is not None and row.value is not None:
        notes = [f"95 % interval {interval(row.low, row.high, digits=2)}"] if row.low is not None else []
        found.append(
            card(
                f"recall of {source_label(recall.source)}, corrected",
                percent(row.value, digits=1),
                note="; ".join([*notes, f"chance {percent(recall.chance)}"]),
                tone="lead-card",
            )
        )
    untrained = recall.find(UNTRAINED, step=FINAL)
    if row is not None and row.value is not None and untrained is not None and untrained.value is not None:
        gain = 100 * (row.value - untrained.value)
        found.append(
            card(
                "gain over the untrained encoder",
                f"{gain:+.1f} points",
                note=f"untrained {percent(untrained.value, digits=1)}",
            )
        )
    return found


def _probe_cards(inputs: ReportInputs) -> list[Markup]:
    row = choosing_row(inputs.probe_rows, encoder=inputs.shown)
    if row is None or row.value is None:
        return []
    untrained = choosing_row(inputs.probe_rows, encoder=UNTRAINED)
    notes = [f"block {row.settings.get('block')} of the encoder"]
    if untrained is not None and untrained.value is not None:
        notes.append(f"untrained {percent(untrained.value, digits=1)}")
    confounds = next(
        (
            other
            for other in inputs.probe_rows
            if other.source == row.source
            and other.settings.get("features") == "confounds"
            and other.settings.get("inverse_regularization") == row.settings.get("inverse_regularization")
        ),
        None,
    )
    if confounds is not None and confounds.value is not None:
        notes.append(f"confounds alone {percent(confounds.value, digits=1)}")
    return [card(f"probe accuracy, {row.source}", percent(row.value, digits=1), note="; ".join(notes))]


def _moa_cards(rows: Sequence[Row], *, shown: str) -> list[Markup]:
    for row in rows:
        is_headline = row.metric == NSC_ACCURACY and row.settings.get(STEP) == FINAL
        if is_headline and row.encoder == shown and row.value is not None:
            note = f"nearest of {plural(row.n, 'treatment')} of other compounds"
            before = next((other for other in rows if _is_same_before(other, row)), None)
            if before is not None and before.value is not None:
                note += f"; before correction {percent(before.value, digits=1)}"
            return [card("mechanism of action, corrected", percent(row.value, digits=1), note=note)]
    return []


def _is_same_before(other: Row, row: Row) -> bool:
    same = (other.metric, other.encoder) == (row.metric, row.encoder)
    return same and other.settings.get(STEP) == BEFORE


def _training_cards(inputs: ReportInputs) -> list[Markup]:
    encoder = inputs.encoder
    if encoder is None or not encoder.num_training_crops:
        return []
    return [
        card(
            "training crops",
            f"{encoder.num_training_crops:,}",
            note=f"of {encoder.crop_size} px, {plural(len(encoder.channels), 'channel')}",
        )
    ]


def _registry_cards(inputs: ReportInputs) -> list[Markup]:
    promoted, registered = inputs.promoted, inputs.registered
    if promoted:
        decision = str(promoted.get("decision", ""))
        gates = promoted.get("gates", [])
        held = sum(bool(gate.get("passed")) for gate in gates)
        name = {"promoted": "champion", "already champion": "champion"}.get(decision, decision)
        return [
            card(
                f"{promoted.get('name')} {_version(promoted)}",
                name,
                note=f"{held} of {len(gates)} gates hold",
                tone="bad" if decision == "refused" else "good",
            )
        ]
    if registered:
        return [
            card(
                str(registered.get("name")),
                _version(registered),
                note="registered as candidate",
            )
        ]
    return []


def _version(record: Mapping[str, Any]) -> str:
    number = record.get("version")
    return f"version {number}" if number else "candidate"


def _time_cards(inputs: ReportInputs) -> list[Markup]:
    stages = inputs.ancestry.stages.values()
    if not stages:
        return []
    total = sum(node.seconds for node in stages)
    longest = max(stages, key=lambda node: node.seconds)
    note = join([f"longest: {longest.label.replace('_', ' ')}, {duration(longest.seconds)}"])
    return [card(f"computing time, {plural(len(stages), 'stage')}", duration(total), note=note)]
