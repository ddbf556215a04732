"""The graph of stages behind a report."""

from __future__ import annotations

import itertools

from phenoscale.reports.ancestry import Ancestor, Ancestry, read_ancestry
from tests.reports.conftest import Reported


def graph(**parents: str) -> Ancestry:
    """`graph(b="a", c="ab")`: b reads a, c reads a and b."""
    names = sorted({*parents, *"".join(parents.values())})
    return Ancestry({name: Ancestor(name, {"stage": name}, tuple(parents.get(name, ""))) for name in names})


def test_arrows_that_a_longer_way_implies_are_left_out() -> None:
    assert graph(b="a", c="ab", d="ac").direct_edges() == [("a", "b"), ("b", "c"), ("c", "d")]
    assert sorted(graph(b="a", c="a", d="bc").direct_edges()) == [
        ("a", "b"),
        ("a", "c"),
        ("b", "d"),
        ("c", "d"),
    ]


def test_a_stage_stands_below_everything_it_was_made_from() -> None:
    ancestry = graph(b="a", c="ab", d="ac", e="a")
    depths = ancestry.depths()
    assert depths == {"a": 0, "b": 1, "c": 2, "d": 3, "e": 1}
    for parent, child in itertools.chain(ancestry.direct_edges()):
        assert depths[parent] < depths[child]


def test_every_stage_of_the_pipeline_is_found_from_the_report_s_inputs(reported: Reported) -> None:
    ancestry = read_ancestry(reported.config)
    labels = {node.label for node in ancestry.stages.values()}
    assert labels == {
        "simulate",
        "ingest",
        "curate",
        "pretrain",
        "import untrained",
        "import pixel_statistics",
        "probe",
        "embed trained",
        "embed untrained",
        "embed pixel_statistics",
        "map trained",
        "map untrained",
        "map pixel_statistics",
        "benchmark",
        "register",
        "promote",
    }
    [probe] = ancestry.of_stage("probe")
    parents = {ancestry.stages[key].label for key in probe.parents}
    assert parents == {"pretrain", "curate", "import untrained", "import pixel_statistics"}


def test_embeddings_are_called_as_the_map_that_was_made_of_them(reported: Reported) -> None:
    alone = reported.config.model_copy(update={"embeddings": {}})
    labels = {node.label for node in read_ancestry(alone).stages.values()}
    assert {"embed trained", "embed untrained", "embed pixel_statistics"} <= labels
