"""The registry: which version the encoder became, and the evidence on which it was promoted or refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from phenoscale.reports.inputs import ReportInputs
from phenoscale.reports.markup import Content, Markup, code, facts, join, number, paragraph, table, tag
from phenoscale.reports.sections.section import Section


def registry_section(inputs: ReportInputs) -> Section:
    """Version, gates and decision."""
    registered, promoted = inputs.registered, inputs.promoted
    body = None
    if registered or promoted:
        body = join(
            [_version(registered) if registered else None, _promotion(promoted) if promoted else None]
        )
    return Section(
        name="registry",
        title="Registry",
        lead="Did the encoder earn its place, and on what evidence?",
        body=body,
        absent="The encoder was not registered in this run.",
    )


def _version(registered: Mapping[str, Any]) -> Markup:
    if registered.get("refusal"):
        pill = tag("span", "not registered", class_="pill bad")
        return paragraph(pill, f"  {registered['refusal']}.")
    digest = str(registered.get("encoder_digest", ""))
    return facts(
        [
            ("registered model", str(registered.get("name", ""))),
            ("version", str(registered.get("version", ""))),
            ("encoder digest", code(digest[:20])),
            ("address", code(str(registered.get("uri", "")))),
        ]
    )


def _promotion(promoted: Mapping[str, Any]) -> Markup:
    decision = str(promoted.get("decision", ""))
    tone = "bad" if decision == "refused" else "good"
    champion = promoted.get("champion_compared")
    compared = (
        f"Compared with the champion, version {champion}." if champion else "There was no other champion."
    )
    rows = [_gate(gate) for gate in promoted.get("gates", [])]
    return join(
        [
            paragraph(
                tag("span", decision, class_=f"pill {tone}"),
                f"  by {promoted.get('by', 'unknown')} on "
                f"{str(promoted.get('at', ''))[:16].replace('T', ' ')}. "
                f"{compared}",
            ),
            table(["gate", "", "number", "asked for", "note"], rows, numeric=(2,)) if rows else None,
        ]
    )


def _gate(gate: Mapping[str, Any]) -> list[Content]:
    held = bool(gate.get("passed"))
    mark = tag("span", "holds" if held else "fails", class_=f"pill {'good' if held else 'bad'}")
    value = gate.get("value")
    return [
        str(gate.get("gate", "")),
        mark,
        number(value),
        str(gate.get("asked", "")),
        str(gate.get("note", "")),
    ]
