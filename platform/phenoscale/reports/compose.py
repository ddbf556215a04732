"""Put the report together: headline numbers, then one section after the other."""

from __future__ import annotations

from dataclasses import dataclass

from phenoscale.reports.config import ReportConfig
from phenoscale.reports.figures.interactive import plotly_script
from phenoscale.reports.inputs import ReportInputs
from phenoscale.reports.page import render_page
from phenoscale.reports.sections.all_rows import rows_section
from phenoscale.reports.sections.batch_effect import batch_effect_section
from phenoscale.reports.sections.curation import curation_section
from phenoscale.reports.sections.families import families_section
from phenoscale.reports.sections.lineage import lineage_section
from phenoscale.reports.sections.map_overview import map_section
from phenoscale.reports.sections.overview import overview, subtitle
from phenoscale.reports.sections.probe import probe_section
from phenoscale.reports.sections.published import published_section
from phenoscale.reports.sections.recall import recall_section
from phenoscale.reports.sections.registry import registry_section
from phenoscale.reports.sections.replicates import replicates_section
from phenoscale.reports.sections.screen import screen_section
from phenoscale.reports.sections.section import Section
from phenoscale.reports.sections.training import reconstruction_section, training_section


@dataclass(frozen=True)
class Composed:
    """The finished page and its sections."""

    html: str
    sections: tuple[Section, ...]


def compose_report(inputs: ReportInputs, *, config: ReportConfig) -> Composed:
    """Write the page."""
    families, published = families_section(inputs), published_section(inputs)
    sections = (
        *([families] if families is not None else []),
        screen_section(inputs),
        curation_section(inputs),
        training_section(inputs),
        reconstruction_section(inputs, num_shown=config.num_reconstructions),
        probe_section(inputs),
        recall_section(inputs),
        replicates_section(inputs),
        batch_effect_section(inputs),
        *([published] if published is not None else []),
        map_section(inputs, config),
        rows_section(inputs),
        registry_section(inputs),
        lineage_section(inputs),
    )
    html = render_page(
        title=config.title,
        subtitle=subtitle(inputs),
        overview=overview(inputs),
        sections=sections,
        plotting=plotly_script(),
    )
    return Composed(html=html, sections=sections)
