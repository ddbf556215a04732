"""The page as a whole: header, table of contents, sections, and everything it needs inside one file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from phenoscale.reports.markup import Content, Markup, tag
from phenoscale.reports.script import SCRIPT
from phenoscale.reports.sections.section import Section
from phenoscale.reports.style import STYLE

# Nothing may be loaded from anywhere: the page is the same on a plane and in ten years.
_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "img-src data: blob:; font-src data:"
)
PLOT_CLASS: Final = "plotly-graph-div"


def render_page(
    *, title: str, subtitle: Content, overview: Markup, sections: Sequence[Section], plotting: Markup
) -> str:
    """The whole HTML document.

    Args:
        title: heading and window title.
        subtitle: one line under the heading.
        overview: headline numbers, before the first section.
        sections: in the order of the page.
        plotting: the plotting library; left out when no section has an interactive plot.
    """
    body = [section.render() for section in sections]
    needs_plotting = any(PLOT_CLASS in part for part in body)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="generator", content="phenoscale"),
        tag("title", title),
        tag("link", rel="icon", href="data:,"),
        Markup(f"<style>{STYLE}</style>"),
        plotting if needs_plotting else None,
    )
    header = tag(
        "header",
        tag("div", "Phenoscale", class_="brand"),
        tag("h1", title),
        tag("p", subtitle, class_="lead"),
        class_="top",
    )
    page = tag(
        "div",
        header,
        _contents(sections),
        tag("main", overview, *body),
        tag("footer", "Written by phenoscale report. This file needs no network and no other file."),
        class_="page",
    )
    return "<!doctype html>\n" + tag(
        "html", head, tag("body", page, Markup(f"<script>{SCRIPT}</script>")), lang="en"
    )


def _contents(sections: Sequence[Section]) -> Markup:
    links = [
        tag("a", section.title, href=f"#{section.name}", class_="empty" if section.is_empty else None)
        for section in sections
    ]
    glance = tag("a", "At a glance", href="#glance")
    return tag("nav", tag("strong", "Contents"), glance, *links, class_="toc", aria_label="Contents")
