"""`benchmark list`: every verb of the benchmarks and nothing else, and the suite as it says."""

import json

import pytest

from phenoscale.benchmarks.suite.catalog import CATALOG, run_list
from phenoscale.benchmarks.suite.suite import PARTS
from phenoscale.benchmarks.suite.suite_config import ListConfig
from phenoscale.cli.main import main
from phenoscale.cli.verbs import VERBS
from phenoscale.errors import UserError


def test_the_list_holds_every_benchmark_verb_and_nothing_else():
    verbs = {name.removeprefix("benchmark ") for name in VERBS if name.startswith("benchmark ")}
    assert set(CATALOG) == verbs


def test_the_suite_runs_what_the_list_says_it_runs():
    assert {part.verb for part in PARTS} == {name for name, found in CATALOG.items() if found.in_suite}


def test_a_person_reads_needs_and_cost_and_a_program_reads_the_same(capsys):
    text = run_list(ListConfig(names=("recall",))).text()
    assert text.splitlines()[:2] == [
        "recall [suite]: share of known relationships in the tails of all cosines of a map",
        "    needs  map; annotations",
    ]
    assert main(["benchmark", "list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == list(CATALOG)
    assert found["recall"]["needs"] == ["map", "annotations"]
    assert all(entry["measures"] and entry["cost"] and entry["source"] for entry in found.values())


def test_an_unknown_benchmark_is_refused_with_those_that_there_are():
    assert list(run_list(ListConfig(names=("recall_null",)))) == ["recall-null"]
    with pytest.raises(UserError, match=r"no benchmark recal; there are recall, "):
        run_list(ListConfig(names=("recal",)))
