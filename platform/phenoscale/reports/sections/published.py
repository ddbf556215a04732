"""Own numbers beside those of the literature, each with what differs in its setting."""

from __future__ import annotations

from typing import Any

from phenoscale.benchmarks.published.comparison import Beside, Comparison, compare
from phenoscale.benchmarks.published.numbers import is_secondary
from phenoscale.benchmarks.published.table import write_value
from phenoscale.reports.benchmark_rows import name_step, source_label, step_of, stratum_of
from phenoscale.reports.figures.palette import encoder_label
from phenoscale.reports.inputs import ReportInputs
from phenoscale.reports.markup import Content, Markup, explain, join, paragraph, table, tag
from phenoscale.reports.sections.section import Section
from phenoscale.schema.rows import FINAL, Row

_HEADER = ("", "value", "setting", "differs from ours", "citation")


def published_section(inputs: ReportInputs) -> Section | None:
    """Published numbers of what was measured here; None where nothing of it was published."""
    own = [row for row in inputs.rows if step_of(row) == FINAL]
    comparisons = compare(own, facts=_facts(inputs))
    if not comparisons:
        return None
    return Section(
        name="published",
        title="Beside the literature",
        lead="Where do these numbers stand among published ones, and what is not the same about them?",
        body=join([_about(comparisons), *map(_comparison, comparisons)]),
    )


def _facts(inputs: ReportInputs) -> dict[str, Any]:
    """What the rows do not say themselves: the screen, the steps of the map, its size."""
    facts: dict[str, Any] = {}
    if inputs.screen is not None:
        facts["dataset"] = inputs.screen.header.screen
    shown = inputs.maps.get(inputs.shown)
    if shown is not None:
        facts["num_perturbations"] = len(shown)
        steps = [name_step(str(step.get("name"))) for step in shown.steps]
        facts["transform"] = " + ".join(steps) or "none"
    return facts


def _about(comparisons: list[Comparison]) -> Markup:
    is_same = any(not number.mark for found in comparisons for number in found.published)
    text = (
        "A published number is of other cells, other images and often other steps of correction. What "
        "differs from the setting here, as far as it is known, stands beside each; "
    )
    text += (
        "numbers without a mark were measured as here."
        if is_same
        else "none of them was measured as here, so they say what is usual and not what is better."
    )
    return paragraph(
        text, " Numbers marked secondary are known through others than those who published them."
    )


def _comparison(found: Comparison) -> Markup:
    """Own numbers and the best of each citation; all others on demand."""
    best: dict[str, Beside] = {}
    for number in found.published:
        known = best.get(number.row.citation)
        if known is None or (number.row.value or 0.0) > (known.row.value or 0.0):
            best[number.row.citation] = number
    own = list(map(_own_line, found.own))
    shown = table(_HEADER, [*own, *map(_published_line, best.values())], numeric=(1,))
    rest = None
    if len(best) < len(found.published):
        everything = table(_HEADER, list(map(_published_line, found.published)), numeric=(1,))
        rest = explain(f"All {len(found.published)} published numbers", everything)
    name = " ".join(dict.fromkeys([found.benchmark, found.metric.removesuffix("_mean")])).replace("_", " ")
    return join([tag("h3", f"{name}: {source_label(found.source)}"), shown, rest])


def _own_line(row: Row) -> list[Content]:
    stratum = stratum_of(row)
    who = tag("b", f"{encoder_label(row.encoder)}, here" + (f" ({stratum})" if stratum else ""))
    return [who, write_value(row), _metric(row), "", ""]


def _metric(row: Row) -> str:
    return row.metric.replace("_", " ")


def _published_line(number: Beside) -> list[Content]:
    words = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in number.place.items())
    citation = number.row.citation
    cited = tag("em", citation) if is_secondary(number.row) else citation
    small = (tag("small", words), tag("small", number.mark or "nothing that is known"), tag("small", cited))
    return [number.row.encoder, write_value(number.row), *small]
