"""`benchmark table`: what a person and a program read of own and published numbers."""

import json

import pytest

from phenoscale.benchmarks.published.numbers import published_rows
from phenoscale.benchmarks.published.table import run_table
from phenoscale.benchmarks.suite.config import TableConfig
from phenoscale.cli.main import main
from phenoscale.errors import UserError
from phenoscale.schema.rows import Row, canonical_setting, write_rows


@pytest.fixture
def rows(tmp_path):
    setting = canonical_setting(lower=0.05, upper=0.95, chance=0.1, step="final")
    return write_rows(
        tmp_path, [Row("recall", "CORUM", "recall", setting, 0.31, 0.3, 0.32, n=100, encoder="trained")]
    )


def test_own_recall_stands_beside_every_published_recall_of_the_source(rows):
    (found,) = run_table(TableConfig(rows=(str(rows),), facts={"dataset": "RxRx3-core"}))
    of_corum = [row for row in published_rows() if (row.source, row.metric) == ("CORUM", "recall")]
    assert [number.row for number in found.published] == of_corum
    text = run_table(TableConfig(rows=(str(rows),), facts={"dataset": "RxRx3-core"})).text()
    assert "    0.31 [0.300, 0.320]     trained, step final  n=100 excluded=0" in text
    assert "  ! differs in dataset (here RxRx3-core); not known here: transform" in text
    assert "    0.622                   MAE L/8+, RPI-93M" in text
    assert "(secondary)" in text


def test_without_rows_the_published_numbers_are_shown_alone_and_can_be_chosen():
    everything = run_table(TableConfig())
    assert sum(len(found.published) for found in everything) == len(published_rows())
    (chosen,) = run_table(TableConfig(benchmarks=("recall",), sources=("hu.map",)))
    assert {number.row.source for number in chosen.published} == {"HuMAP"}
    assert "!" not in run_table(TableConfig(benchmarks=("recall",))).text()
    assert "    0.401 ± 0.127 (MAD)" in everything.text()


def test_a_benchmark_that_nobody_published_is_refused_with_those_that_are():
    with pytest.raises(UserError, match=r"benchmark recal is published here; known are compound_gene"):
        run_table(TableConfig(benchmarks=("recal",)))


def test_a_fact_that_nothing_is_compared_by_is_refused_with_those_that_are(rows):
    with pytest.raises(UserError, match=r"states foo, .* known are .*dataset, .*transform") as caught:
        run_table(TableConfig(rows=(str(rows),), facts={"foo": "bar", "dataset": "RxRx3"}))
    assert "chance" not in str(caught.value)


def test_the_command_prints_one_json_list_with_the_marks(rows, capsys):
    assert main(["benchmark", "table", "--rows", str(rows), "--json", "--sources", "CORUM"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["own"][0]["value"] == 0.31
    assert found["published"][0]["unknown"] == ["dataset", "transform"]
    assert found["published"][0]["row"]["citation"].startswith("Kraus et al.")
