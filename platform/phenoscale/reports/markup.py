"""HTML without a template language: text is escaped, markup is what `tag` returns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

VOID: Final = ("br", "hr", "img", "input", "link", "meta", "col")


class Markup(str):
    """Text that is HTML already, and is not escaped again."""

    __slots__ = ()


Content = str | Markup | None


def tag(element: str, /, *children: Content, **attributes: str | bool | None) -> Markup:
    """One element. Children that are not Markup are escaped; None is left out.

    Attribute names drop a trailing underscore (`class_`) and turn other underscores into hyphens.
    """
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(str(value))}"')
        for key, value in attributes.items()
        if value not in (None, False)
    )
    if element in VOID:
        return Markup(f"<{element}{written}>")
    return Markup(f"<{element}{written}>{join(children)}</{element}>")


def join(parts: Iterable[Content], *, separator: str = "") -> Markup:
    """Several pieces as one."""
    return Markup(separator.join(safe(part) for part in parts if part is not None))


def safe(part: str | Markup) -> Markup:
    """A piece with everything escaped that is not markup."""
    return part if isinstance(part, Markup) else Markup(escape(part))


def paragraph(*children: Content, kind: str | None = None) -> Markup:
    """A paragraph of text."""
    return tag("p", *children, class_=kind)


def missing(what: str) -> Markup:
    """The note that stands where a part of the report has nothing to show."""
    return tag("p", what, class_="missing", role="note")


def card(label: str, value: str, *, note: Content = None, tone: str = "") -> Markup:
    """A headline number."""
    return tag(
        "div",
        tag("div", label, class_="card-label"),
        tag("div", value, class_="card-value"),
        tag("div", note, class_="card-note") if note else None,
        class_=f"card {tone}".strip(),
    )


def cards(items: Sequence[Markup]) -> Markup:
    """Headline numbers side by side, in rows of equal length where that is possible."""
    columns = 3 if len(items) in (3, 5, 6, 9) else min(max(len(items), 2), 4)
    return tag("div", *items, class_="cards", style=f"--columns:{columns}")


def titled(title: str, *text: Content) -> Markup:
    """A caption that begins with its title."""
    return join([tag("b", f"{title}. "), *text])


def figure(content: Markup, *, caption: Content, wide: bool = False) -> Markup:
    """A figure with the caption that tells what to see."""
    return tag(
        "figure",
        tag("div", content, class_="plate"),
        tag("figcaption", caption),
        class_="wide" if wide else None,
    )


def explain(title: str, *children: Content) -> Markup:
    """An explanation that opens on demand."""
    return tag("details", tag("summary", title), *children, class_="explain")


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[Content]],
    *,
    numeric: Sequence[int] = (),
    kind: str = "",
    caption: Content = None,
) -> Markup:
    """A table; the columns of the given numbers are aligned as figures."""

    def line(contents: Sequence[Content], *, cell: str) -> Markup:
        kinds = ["number" if index in numeric else None for index in range(len(contents))]
        cells = (tag(cell, content or "", class_=kind) for content, kind in zip(contents, kinds, strict=True))
        return tag("tr", *cells)

    head = line(header, cell="th")
    body = join(line(row, cell="td") for row in rows)
    return tag(
        "div",
        tag(
            "table",
            tag("caption", caption) if caption else None,
            tag("thead", head),
            tag("tbody", body),
            class_=kind or None,
        ),
        class_="table-scroll",
    )


def facts(pairs: Sequence[tuple[str, Content]]) -> Markup:
    """A list of names and values."""
    return tag(
        "dl",
        *(tag("div", tag("dt", name), tag("dd", value or "—")) for name, value in pairs),
        class_="facts",
    )


def code(text: str) -> Markup:
    """A digest, path or other exact text."""
    return tag("code", text)


def number(value: float | None, *, digits: int = 3) -> str:
    """A value for a table: a fixed number of decimals, thousands grouped, a dash where there is none."""
    if value is None:
        return "—"
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) >= 10 else f"{value:.{digits}f}"


def percent(share: float, *, digits: int = 0) -> str:
    """A share of one as per cent, on one line."""
    return f"{100 * share:.{digits}f}\u00a0%"


def interval(low: float | None, high: float | None, *, digits: int = 3) -> str:
    """A 95 % interval."""
    return "" if low is None or high is None else f"[{low:.{digits}f}, {high:.{digits}f}]"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def plural(count: int, noun: str) -> str:
    """A count with its noun."""
    ending = "" if count == 1 else "es" if noun.endswith(("s", "x", "ch")) else "s"
    return f"{count:,} {noun}{ending}"
