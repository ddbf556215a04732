"""The screen: what was imaged, and which settings drew it where it was simulated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from phenoscale.reports.figures.palette import stain_color
from phenoscale.reports.inputs import ReportInputs, ScreenFacts
from phenoscale.reports.markup import Content, Markup, explain, facts, join, paragraph, plural, table, tag
from phenoscale.reports.sections.section import Section
from phenoscale.schema.keys import PLATE_KEY, WELL_KEY


def screen_section(inputs: ReportInputs) -> Section:
    """Plates, wells, channels, and what is on the plates."""
    return Section(
        name="screen",
        title="The screen",
        lead="The images: plates, stains and perturbations.",
        body=_body(inputs.screen, inputs) if inputs.screen else None,
        absent="No screen store was given, so plates and wells are not shown.",
    )


def _body(screen: ScreenFacts, inputs: ReportInputs) -> Markup:
    simulated = inputs.ancestry.of_stage("simulate")
    return join(
        [
            _facts(screen),
            stain_legend(screen.header.channels),
            _plate_table(screen.wells),
            _simulation(simulated[0].record.get("config", {})) if simulated else None,
        ]
    )


def _facts(screen: ScreenFacts) -> Markup:
    header, wells = screen.header, screen.wells
    sizes = sorted({f"{plate.height} × {plate.width}" for plate in header.plates})
    num_wells = len(wells.drop_duplicates(list(WELL_KEY)))
    known: list[tuple[str, Content]] = [
        ("screen", header.screen),
        ("experiments", f"{wells['experiment'].nunique():,}"),
        ("plates", f"{len(header.plates):,}"),
        ("wells", f"{num_wells:,}"),
        ("fields of view" if _is_whole(wells) else "cell crops", f"{len(wells):,}"),
        ("field size, px", ", ".join(sizes)),
        ("pixel size", f"{header.pixel_size_um:g} µm" if header.pixel_size_um else "not recorded"),
        ("pixels", f"{header.dtype}, scale {header.intensity_scale:g}"),
        ("perturbations", f"{wells['perturbation'].nunique():,}"),
    ]
    for column, name in (("gene", "genes"), ("guide", "guides"), ("compound", "compounds")):
        if column in wells and (count := _num_named(wells[column])):
            known.append((name, f"{count:,}"))
    return facts(known)


def stain_legend(channels: tuple[str, ...]) -> Markup:
    """The stains with the colors in which the pictures show them."""
    items = []
    for position, channel in enumerate(channels):
        red, green, blue = stain_color(channel, position=position)
        swatch = tag("span", class_="swatch", style=f"background:rgb({red},{green},{blue})")
        items.append(tag("span", swatch, channel))
    return tag("div", tag("span", "Stains, in the order of the channels:"), *items, class_="stains")


def _plate_table(wells: pd.DataFrame) -> Markup:
    unique = wells.drop_duplicates(list(WELL_KEY))
    rows = []
    for (_, experiment, plate), own in unique.groupby(list(PLATE_KEY), sort=True):
        rows.append(
            [
                str(experiment),
                str(plate),
                f"{len(own):,}",
                f"{_count(own, 'is_negative_control'):,}",
                f"{_count(own, 'is_positive_control'):,}",
                f"{own['perturbation'].nunique():,}",
            ]
        )
    header = [*PLATE_KEY[1:], "wells", "negative controls", "positive controls", "perturbations"]
    listing = table(header, rows, numeric=(2, 3, 4, 5))
    return listing if len(rows) <= 12 else explain(f"All {plural(len(rows), 'plate')}", listing)


def _simulation(settings: Mapping[str, Any]) -> Markup:
    """What was planted, as the config of `simulate` says it."""
    blocks = []
    for name in ("biology", "layout", "nuisance"):
        values = settings.get(name, {})
        pairs: list[tuple[str, Content]] = [
            (key.replace("_", " "), _plain(value)) for key, value in values.items()
        ]
        if pairs:
            blocks += [tag("h3", name.capitalize()), facts(pairs)]
    planted = "no phenotype at all (null screen)" if settings.get("null") else "a known answer"
    intro = paragraph(
        f"This screen was drawn by Phenoscale with {planted}, seed {settings.get('seed', 0)}. "
        "Recall is judged against the planted gene modules; everything under “nuisance” is what the "
        "correction steps have to remove."
    )
    return explain("Settings of the simulation", intro, *blocks)


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _num_named(column: pd.Series) -> int:
    return len(set(column.fillna("").astype(str)) - {""})


def _count(wells: pd.DataFrame, column: str) -> int:
    return int(wells[column].fillna(False).astype(bool).sum()) if column in wells else 0


def _is_whole(wells: pd.DataFrame) -> bool:
    return "object" not in wells or bool((wells["object"].fillna(0).astype(int) == 0).all())
