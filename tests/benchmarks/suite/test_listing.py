"""`benchmark list`: every benchmark with its needs and cost, for a person and for a program."""

import json

import pytest

from phenoscale.benchmarks.catalog import CATALOG
from phenoscale.benchmarks.suite.config import ListConfig
from phenoscale.benchmarks.suite.listing import run_list
from phenoscale.cli.main import main
from phenoscale.errors import UserError


def test_a_person_reads_needs_and_cost_and_a_program_reads_the_same(capsys):
    text = run_list(ListConfig(names=("recall",))).text()
    assert text.splitlines()[:2] == [
        "recall [suite] [stage]: share of known relationships in the tails of all cosines",
        "    needs  map; annotations",
    ]
    assert main(["benchmark", "list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == list(CATALOG)
    assert found["recall"]["needs"] == ["map", "annotations"]
    assert found["batch-effect"]["needs"] == ["embeddings of wells or map and genes with arm"]
    assert all(entry["measures"] and entry["cost"] and entry["source"] for entry in found.values())


def test_an_unknown_benchmark_is_refused_with_those_that_there_are():
    assert list(run_list(ListConfig(names=("recall_null",)))) == ["recall-null"]
    with pytest.raises(UserError, match=r"no benchmark recal; there are recall, "):
        run_list(ListConfig(names=("recal",)))
