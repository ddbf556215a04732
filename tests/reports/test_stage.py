"""The report as a file: complete, self-contained, reused, and honest about what is missing."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from phenoscale.config import Runtime
from phenoscale.errors import UserError
from phenoscale.reports.config import ReportConfig
from phenoscale.reports.stage import run_report
from tests.reports.conftest import Reported

MEGABYTE = 1_000_000
VOID = {"br", "hr", "img", "input", "link", "meta", "col", "path", "use", "rect"}


class Outline(HTMLParser):
    """Checks that elements close in the order in which they opened, and collects what the page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.crossed: list[str] = []
        self.names: list[str] = []
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if values.get("id"):
            self.names.append(str(values["id"]))
        self.references += [str(values[key]) for key in ("src", "href") if values.get(key)]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.crossed.append(tag)


@pytest.fixture(scope="module")
def html(reported: Reported) -> str:
    return reported.file.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def outline(html: str) -> Outline:
    parser = Outline()
    parser.feed(re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL))
    return parser


def test_a_full_pipeline_leaves_no_section_empty(reported: Reported) -> None:
    assert reported.result.summary["missing"] == []
    assert len(reported.result.summary["sections"]) == 13


def test_the_page_is_one_file_of_less_than_eight_megabytes(reported: Reported, outline: Outline) -> None:
    assert reported.file.stat().st_size < 8 * MEGABYTE
    assert [entry.name for entry in reported.file.parent.iterdir() if entry.suffix in (".js", ".png")] == []
    outside = [place for place in outline.references if not place.startswith(("#", "data:"))]
    assert outside == []


def test_elements_close_in_order_and_identifiers_are_unique(outline: Outline) -> None:
    assert outline.crossed == []
    assert outline.open == []
    assert len(outline.names) == len(set(outline.names))


def test_links_inside_the_page_lead_somewhere(outline: Outline) -> None:
    wanted = {place[1:] for place in outline.references if place.startswith("#") and len(place) > 1}
    assert wanted <= set(outline.names)


def test_the_plotting_library_is_there_once(html: str) -> None:
    assert len(re.findall(r"plotly\.js v\d", html)) == 1


def test_text_from_outside_is_escaped(html: str) -> None:
    assert "<h1>Screen of &lt;six&gt; modules &amp; more</h1>" in html
    assert "<six>" not in html


def test_headline_numbers_are_those_of_the_rows(html: str) -> None:
    assert "chance 10\u00a0%" in html
    assert "2 of 2 gates hold" in html
    assert "phenoscale-encoder version 3" in html


def test_the_same_inputs_give_the_same_report_without_work(reported: Reported) -> None:
    again = run_report(reported.config)
    assert again.reused
    assert again.digest == reported.result.digest


def test_two_reports_of_the_same_inputs_are_equal_to_the_byte(reported: Reported, html: str) -> None:
    from phenoscale.reports.compose import compose_report
    from phenoscale.reports.inputs import read_inputs

    composed = compose_report(read_inputs(reported.config), config=reported.config)
    # Only the identifiers that plotly draws at random may differ, and we name its figures ourselves.
    assert composed.html == html


def test_what_was_not_given_is_said_to_be_missing(reported: Reported, tmp_path: Path) -> None:
    config = ReportConfig(
        probe=str(reported.outputs.probe), runtime=Runtime(workspace=str(tmp_path / "workspace"))
    )
    result = run_report(config)
    assert set(result.summary["sections"]) == {"probes", "rows", "lineage"}
    html = (result.path / "report.html").read_text(encoding="utf-8")
    assert html.count('class="missing"') == len(result.summary["missing"]) == 9
    assert "No screen store was given" in html
    assert "plotly" not in html
    assert len(html) < MEGABYTE


def test_an_empty_report_is_still_a_page(tmp_path: Path) -> None:
    result = run_report(ReportConfig(runtime=Runtime(workspace=str(tmp_path))))
    html = (result.path / "report.html").read_text(encoding="utf-8")
    assert "None of the inputs has a headline number" in html
    assert result.summary["sections"] == []


@pytest.mark.parametrize("name", ["screen", "manifest", "benchmark", "oracle"])
def test_a_place_that_holds_something_else_is_a_user_error(tmp_path: Path, name: str) -> None:
    place = tmp_path / "other"
    place.mkdir()
    (place / "note.txt").write_text("not what you think")
    config = ReportConfig(**{name: str(place)}, runtime=Runtime(workspace=str(tmp_path / "workspace")))
    with pytest.raises(UserError, match="other"):
        run_report(config)
    assert not list((tmp_path / "workspace").glob("report/*/report.html"))


def test_a_place_that_does_not_exist_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        run_report(ReportConfig(probe=str(tmp_path / "gone"), runtime=Runtime(workspace=str(tmp_path))))


def test_steps_that_a_run_reused_are_marked(reported: Reported, tmp_path: Path) -> None:
    import json

    from phenoscale.stages import read_lineage

    record = read_lineage(reported.outputs.probe)
    (tmp_path / "run" / "probe").mkdir(parents=True)
    result = {"key": record["key"], "reused": True}
    (tmp_path / "run" / "probe" / "result.json").write_text(json.dumps(result))
    config = ReportConfig(
        probe=str(reported.outputs.probe),
        run=str(tmp_path / "run"),
        runtime=Runtime(workspace=str(tmp_path / "workspace")),
    )
    html = (run_report(config).path / "report.html").read_text(encoding="utf-8")
    assert ">reused</span>" in html
