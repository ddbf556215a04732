"""The manifest: which fields the encoder may see, and what each rule removed."""

from __future__ import annotations

from collections.abc import Sequence

from phenoscale.reports.inputs import ReportInputs
from phenoscale.reports.markup import Markup, figure, join, plural, table, tag, titled
from phenoscale.reports.sections.section import Section
from phenoscale.schema.manifest import FunnelStep, Manifest

_SPLITS = ("train", "validation", "test")


def curation_section(inputs: ReportInputs) -> Section:
    """The funnel and the splits."""
    return Section(
        name="curation",
        title="Curation",
        lead="Which fields became training data, and what each rule removed.",
        body=_body(inputs.manifest) if inputs.manifest else None,
        absent="No manifest was given, so the curation funnel is not shown.",
    )


def _body(manifest: Manifest) -> Markup:
    parts = []
    if manifest.funnel:
        parts.append(
            figure(
                draw_funnel(manifest.funnel),
                caption=titled(
                    "Curation funnel",
                    "Each bar is what remained after a rule; red numbers are what the rule removed.",
                ),
            )
        )
    rows = [[split, f"{manifest.count(split):,}"] for split in _SPLITS if manifest.count(split)]
    parts.append(table(["split", "fields"], rows, numeric=(1,)))
    return join(parts)


def draw_funnel(steps: Sequence[FunnelStep]) -> Markup:
    """Horizontal bars, one per rule, as plain HTML: it reflows and prints like text."""
    largest = max(max(step.kept + step.removed for step in steps), 1)
    cells = []
    for step in steps:
        name = tag(
            "div",
            step.rule.replace("_", " "),
            tag("small", step.setting) if step.setting else None,
            class_="rule",
        )
        share = 100 * step.kept / largest
        count = tag(
            "span",
            plural(step.kept, "field"),
            tag("em", f"  −{step.removed:,}") if step.removed else None,
            class_="count",
        )
        bar = tag("div", class_="kept", style=f"width:{share:.2f}%")
        cells += [name, tag("div", bar, count, class_="bar")]
    return tag("div", *cells, class_="funnel")
