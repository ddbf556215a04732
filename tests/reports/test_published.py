"""Published numbers on the page: beside what was measured here, with what differs, and only then."""

from __future__ import annotations

from phenoscale.reports.inputs import ReportInputs
from phenoscale.reports.sections.published import published_section
from phenoscale.schema.rows import Row, canonical_setting
from tests.reports.conftest import Reported


def _recall(encoder: str, value: float, *, source: str = "CORUM", step: str = "final") -> Row:
    setting = canonical_setting(step=step, lower=0.05, upper=0.95, chance=0.1)
    return Row("recall", source, "recall", setting, value, value - 0.01, value + 0.01, n=9, encoder=encoder)


def test_own_recall_stands_above_the_best_number_of_each_citation() -> None:
    rows = [_recall("trained", 0.3), _recall("trained", 0.2, step="0_none"), _recall("untrained", 0.11)]
    section = published_section(ReportInputs(rows=rows))
    assert section is not None and section.body is not None
    first_table = section.body.partition("</table>")[0]
    assert "0.3 [0.290, 0.310]" in first_table and "0.11 [0.100, 0.120]" in first_table
    assert "0.2 [" not in section.body
    assert "MAE L/16+, RPI-52M" in first_table  # .626, the best of the paper's Table 3
    assert "ViT-S/16, ImageNet-21k" not in first_table
    assert "ViT-S/16, ImageNet-21k" in section.body
    assert "not known here: dataset, transform" in first_table
    assert "<em>Kraus et al. 2025, arXiv:2503.20158, Table 6 (secondary)</em>" in first_table


def test_pairs_that_nobody_published_leave_no_section() -> None:
    assert published_section(ReportInputs(rows=[_recall("trained", 0.3, source="pairs")])) is None


def test_the_page_says_what_is_not_the_same_about_a_published_consistency(reported: Reported) -> None:
    html = reported.file.read_text(encoding="utf-8")
    section = html.partition('<section id="published">')[2].partition("</section>")[0]
    assert "differs in dataset (here " in section
    assert "ViTally Consistent, ICML 2025, Table 1 (secondary)" in section
