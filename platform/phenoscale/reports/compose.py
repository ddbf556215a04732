"""Put the report together: headline numbers, then one section after the other."""

from __future__ import annotations

from dataclasses import dataclass

from phenoscale.reports.config import ReportConfig
from phenoscale.reports.figures.interactive import plotly_script
from phenoscale.reports.material import Material
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


def compose_report(material: Material, *, config: ReportConfig) -> Composed:
    """Write the page."""
    families, published = families_section(material), published_section(material)
    sections = (
        *([families] if families is not None else []),
        screen_section(material),
        curation_section(material),
        training_section(material),
        reconstruction_section(material, num_shown=config.num_reconstructions),
        probe_section(material),
        recall_section(material),
        replicates_section(material),
        batch_effect_section(material),
        *([published] if published is not None else []),
        map_section(material, config),
        rows_section(material),
        registry_section(material),
        lineage_section(material),
    )
    html = render_page(
        title=config.title,
        subtitle=subtitle(material),
        overview=overview(material),
        sections=sections,
        plotting=plotly_script(),
    )
    return Composed(html=html, sections=sections)
