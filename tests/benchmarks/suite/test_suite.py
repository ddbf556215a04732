"""`benchmark suite`: the numbers of the single verbs, all that is possible, and reasons for the rest."""

import json

import numpy as np
import pandas as pd
import pytest

from phenoscale.benchmarks.relations.config import RECALL, RecallConfig
from phenoscale.benchmarks.suite.config import SuiteConfig
from phenoscale.benchmarks.suite.suite import run_suite
from phenoscale.benchmarks.wells.config import SIGNAL_CONSISTENCY, SignalConsistencyConfig
from phenoscale.cli.main import main
from phenoscale.errors import UserError
from phenoscale.schema.embeddings import write_embeddings
from phenoscale.schema.maps import parse_map, write_bare_map
from phenoscale.schema.rows import read_rows
from tests.support.wells import make_wells

_GENES = [f"GENE{index:02d}" for index in range(40)]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A map of eight modules of five genes, two sources of pairs, the modules as clusters, arms."""
    folder = tmp_path_factory.mktemp("suite")
    generator = np.random.default_rng(0)
    vectors = np.repeat(generator.normal(size=(8, 6)), 5, axis=0) + 0.3 * generator.normal(size=(40, 6))
    frame = pd.DataFrame({"perturbation": _GENES, "perturbation_type": "crispr"})
    write_bare_map(folder / "map.parquet", parse_map(frame, vectors.astype(np.float32), source="made"))
    pairs = [(_GENES[i], _GENES[i + 1]) for i in range(39) if (i + 1) % 5]
    for name, part in (("one", pairs), ("two", pairs[:9])):
        pd.DataFrame(part, columns=["entity1", "entity2"]).to_csv(folder / f"{name}.csv", index=False)
    modules = [(f"module{i // 5}", gene) for i, gene in enumerate(_GENES)]
    pd.DataFrame(modules, columns=["cluster", "gene"]).to_csv(folder / "modules.csv", index=False)
    arms = pd.DataFrame({"gene": _GENES, "arm": [f"{1 + i // 10}p" for i in range(40)]})
    arms.to_csv(folder / "genes.csv", index=False)
    return folder


def _in(places, names):
    return tuple(str(places / name) for name in names) if isinstance(names, tuple) else str(places / names)


def _config(places, **more):
    given = {"map": "map.parquet", "annotations": ("one.csv", "two.csv")}
    return SuiteConfig(**{**{name: _in(places, value) for name, value in given.items()}, **more})


def test_the_suite_gives_the_numbers_of_the_single_verb_and_the_pairs_by_number_of_sources(places):
    config = _config(places, only=("recall",), curve=(0.1,))
    rows = run_suite(config)
    single = RECALL.run(RecallConfig(map=config.map, annotations=config.annotations, curve=(0.1,)))
    known = {row for row in rows if row.source in ("one", "two")}
    assert known == set(single)
    assert {row.source for row in rows} - {"one", "two"} == {
        "at least 1 of 2 sources",
        "at least 2 of 2 sources",
    }
    assert all(row.value > 3 * row.settings["chance"] for row in rows)


def test_what_is_skipped_says_which_input_it_lacks_and_ends_nothing(places):
    rows = run_suite(_config(places, only=("recall", "clusters", "proximity", "jump-detection")))
    reasons = {row.benchmark: row.settings["reason"] for row in rows if row.metric == "skipped"}
    assert reasons == {
        "clusters": "needs --clusters",
        "proximity": "needs --genes",
        "jump_detection": "needs --profiles",
    }
    text = rows.text()
    assert text.startswith("recall\n  one recall ")
    assert "\n\nskipped\n  clusters                 needs --clusters\n" in text


def test_an_input_that_a_benchmark_refuses_is_a_reason_too(places):
    config = _config(places, clusters=(str(places / "modules.csv"),), only=("recall", "clusters"))
    (skip,) = (row for row in run_suite(config) if row.metric == "skipped")
    assert skip.benchmark == "clusters"
    assert "no cluster of modules has 10 genes in the map" in skip.settings["reason"]


def test_wells_alone_are_scored_by_everything_that_needs_wells_only(tmp_path):
    write_embeddings(tmp_path, make_wells())
    rows = run_suite(SuiteConfig(embeddings=str(tmp_path)))
    ran = {row.benchmark for row in rows if row.metric != "skipped"}
    assert ran >= {"consistency", "signal_consistency", "signal_magnitude", "batch_effect"}
    assert "phenotypic_activity" in ran
    single = SIGNAL_CONSISTENCY.run(SignalConsistencyConfig(embeddings=str(tmp_path)))
    assert [row for row in rows if row.benchmark == "signal_consistency"] == single
    reasons = {row.benchmark: row.settings["reason"] for row in rows if row.metric == "skipped"}
    assert "moa" in reasons["moa"]
    assert reasons["recall"] == "needs --map and --annotations"


def test_rows_are_written_and_printed_as_one_json_list(places, tmp_path, capsys):
    config = _config(places, only=("recall",), output=str(tmp_path / "out"))
    rows = run_suite(config)
    assert read_rows(tmp_path / "out") == list(rows)
    words = ["--map", config.map, "--annotations", config.annotations[0], "--only", "recall", "--json"]
    assert main(["benchmark", "suite", *words]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {row["benchmark"] for row in printed} == {"recall"}
    assert all(row["map"] for row in printed)


def test_nothing_to_run_is_an_error_and_not_an_empty_table(places):
    with pytest.raises(UserError, match="needs --map, --embeddings or --profiles"):
        run_suite(SuiteConfig())
    with pytest.raises(UserError, match=r"has no recal; it has recall, recall-null"):
        run_suite(_config(places, only=("recal",)))
    with pytest.raises(UserError, match="no benchmark could run: moa: needs --embeddings"):
        run_suite(_config(places, only=("moa",)))


def test_a_refusal_that_leaves_nothing_is_not_hidden_among_inputs_that_were_not_given(places, tmp_path):
    few = parse_map(pd.DataFrame({"perturbation": _GENES[:8]}), np.eye(8, dtype=np.float32), source="made")
    write_bare_map(tmp_path / "few.parquet", few)
    with pytest.raises(UserError) as caught:
        run_suite(SuiteConfig(map=str(tmp_path / "few.parquet"), annotations=(str(places / "one.csv"),)))
    assert str(caught.value).startswith("no benchmark could run: recall, recall_null: the map has 8 perturb")
    assert "needs --" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        {"map": "none"},
        {"map": "one.csv"},
        {"embeddings": "none"},
        {"annotations": ("one.csv", "none")},
        {"annotations": ("one.csv", "genes.csv")},
        {"annotations": ("one.csv", "one.csv")},
        {"genes": "none"},
        {"genes": "none", "only": ("recall",)},
        {"clusters": ("modules.csv", "none")},
        {"truth": "one.csv"},
        {"links": "none"},
        {"links": "genes.csv"},
        {"links": "links.txt"},
        {"links": "links.txt", "proteins": "none"},
        {"profiles": "none*.csv"},
    ],
)
def test_an_input_that_is_given_but_cannot_be_read_ends_the_suite_with_its_own_message(places, given):
    (places / "links.txt").write_text("protein1 protein2 combined_score\n9606.A 9606.B 900\n")
    paths = {name: _in(places, value) for name, value in given.items() if name != "only"}
    with pytest.raises(UserError) as caught:
        run_suite(_config(places, **{**given, **paths}))
    message = str(caught.value)
    assert "\n" not in message and "no benchmark" not in message
    last = list(paths.values())[-1]
    assert (last[-1] if isinstance(last, tuple) else last) in message


def test_an_input_that_no_chosen_benchmark_reads_is_not_read(places):
    rows = run_suite(_config(places, clusters=("none",), embeddings="none", only=("recall",)))
    assert {row.benchmark for row in rows} == {"recall"}


def test_benchmarks_are_chosen_by_their_printed_names_too(places):
    printed = run_suite(_config(places, only=("recall_null",)))
    assert list(printed) == list(run_suite(_config(places, only=("recall-null",))))
    assert {row.metric for row in printed} == {"recall_p_value", "recall_permuted"}
