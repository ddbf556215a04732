"""One section of the page."""

from __future__ import annotations

from dataclasses import dataclass

from phenoscale.reports.markup import Content, Markup, missing, paragraph, tag


@dataclass(frozen=True)
class Section:
    """A part of the page with an entry in the table of contents.

    Attributes:
        name: identifier, used in links.
        title: heading.
        lead: one sentence on what the section answers.
        body: what it shows; None when there is nothing, and `absent` says why.
        absent: what is missing.
    """

    name: str
    title: str
    lead: str
    body: Markup | None
    absent: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether the section has nothing to show."""
        return self.body is None

    def render(self) -> Markup:
        """The section as HTML."""
        content: Content = missing(self.absent) if self.body is None else self.body
        return tag("section", tag("h2", self.title), paragraph(self.lead, kind="lead"), content, id=self.name)
