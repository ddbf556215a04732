"""Bad input to every benchmark of maps and wells, through the command line: exit 2 and one line, or counted.

`refused` cases end with exit code 2, nothing on standard output and one line that says what is wrong. What
can be left out is left out and counted in the rows.
"""

import gzip
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

_PAIRS = "entity1,entity2\nG00,G01\nG02,G03\nG04,G05\n"
_GENES = "gene,arm\n" + "".join(f"G{index:02d},{index % 2 + 1}p\n" for index in range(40))


def _write(path, vectors, **columns):
    lists = pa.array([list(map(float, row)) for row in vectors], pa.list_(pa.float32()))
    pq.write_table(pa.table({**columns, "embedding": lists}), path)
    return str(path)


def _vectors(count=40, dimensions=4):
    return np.random.default_rng(0).standard_normal((count, dimensions))


def _map(path, vectors=None, names=None):
    vectors = _vectors() if vectors is None else vectors
    names = names or [f"G{index:02d}" for index in range(len(vectors))]
    return _write(path, vectors, perturbation=names)


def _wells(path, vectors=None, **changes):
    """Ten perturbations in two wells on each of two plates, and eight negative controls."""
    frame = pd.DataFrame(
        {
            "experiment": "e1",
            "plate": np.repeat(["p1", "p2"], 24),
            "well": [f"{'ABCD'[index % 24 // 6]}{index % 6 + 1:02d}" for index in range(48)],
            "perturbation": [f"C{index % 24 // 2}" if index % 24 < 20 else "DMSO" for index in range(48)],
            "moa": [f"m{index % 24 // 4}" if index % 24 < 20 else "DMSO" for index in range(48)],
            "is_negative_control": [index % 24 >= 20 for index in range(48)],
        }
    )
    frame["compound"] = frame["perturbation"]
    for name, values in changes.items():
        if values is None:
            frame = frame.drop(columns=name)
        else:
            frame[name] = values
    vectors = _vectors(len(frame)) if vectors is None else vectors
    return _write(path, vectors, **{name: frame[name].tolist() for name in frame})


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with pairs and genes; the working folder too, so that nothing is written elsewhere."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.csv").write_text(_PAIRS)
    (tmp_path / "genes.csv").write_text(_GENES)
    return tmp_path


_MAP_VERBS = {
    "recall": ("benchmark", "recall", "--annotations", "{place}/pairs.csv"),
    "recall-null": ("benchmark", "recall-null", "--annotations", "{place}/pairs.csv"),
    "batch-effect": ("benchmark", "batch-effect", "--genes", "{place}/genes.csv"),
    "proximity": ("benchmark", "proximity", "--genes", "{place}/genes.csv"),
}
_WELL_VERBS = {
    "consistency": ("benchmark", "consistency"),
    "moa": ("benchmark", "moa"),
    "batch-effect": ("benchmark", "batch-effect"),
}


def _words(table, verb, place):
    return [word.format(place=place) for word in table[verb]]


# --- what every reader of maps and wells refuses ---


def _nan(vectors):
    vectors[7, 2] = np.nan
    return vectors


def _infinite(vectors):
    vectors[7, 2] = np.inf
    return vectors


def _unequal(vectors):
    return [*map(list, vectors[:-1]), [1.0, 2.0]]


_VECTORS = {
    "nan": (_nan, "NaN"),
    "infinite": (_infinite, "NaN or infinit"),
    "unequal dimensions": (_unequal, "dimension"),
}


@pytest.mark.parametrize("case", _VECTORS)
@pytest.mark.parametrize("verb", _MAP_VERBS)
def test_a_map_with_broken_vectors_is_refused(refused, place, verb, case):
    spoil, message = _VECTORS[case]
    broken = _map(place / "map.parquet", spoil(_vectors()), names=[f"G{index:02d}" for index in range(40)])
    assert message in refused(*_words(_MAP_VERBS, verb, place), "--map", broken)


@pytest.mark.parametrize("case", _VECTORS)
@pytest.mark.parametrize("verb", _WELL_VERBS)
def test_wells_with_broken_vectors_are_refused(refused, place, verb, case):
    spoil, message = _VECTORS[case]
    broken = _wells(place / "wells.parquet", spoil(_vectors(48)))
    assert message in refused(*_words(_WELL_VERBS, verb, place), "--embeddings", broken)


@pytest.mark.parametrize("verb", _MAP_VERBS)
def test_a_map_with_a_label_twice_is_refused(refused, place, verb):
    names = [f"G{index:02d}" for index in range(40)]
    names[1] = "G00"
    twice = _map(place / "map.parquet", names=names)
    assert "labels twice, such as ['G00']" in refused(*_words(_MAP_VERBS, verb, place), "--map", twice)


@pytest.mark.parametrize("screen", ["s", None])
@pytest.mark.parametrize(
    "words",
    [
        *_WELL_VERBS.values(),
        ("benchmark", "signal-consistency"),
        ("benchmark", "signal-magnitude"),
        ("benchmark", "percent-replicating"),
    ],
    ids=lambda words: words[1],
)
def test_a_well_that_is_there_twice_is_refused(refused, place, words, screen):
    wells = ["A01", *[f"A{index + 1:02d}" for index in range(47)]]
    more = {"screen": screen} if screen else {}
    twice = _wells(place / "wells.parquet", well=wells, plate="p1", **more)
    option = "--profiles" if words[1] == "percent-replicating" else "--embeddings"
    assert "holds 1 rows twice, such as" in refused(*words, option, twice)


@pytest.mark.parametrize("verb", _MAP_VERBS)
def test_a_missing_a_cut_and_a_foreign_map_are_refused(refused, place, verb):
    words = _words(_MAP_VERBS, verb, place)
    assert "does not exist" in refused(*words, "--map", str(place / "nowhere.parquet"))
    whole = _map(place / "map.parquet")
    cut = place / "cut.parquet"
    cut.write_bytes((place / "map.parquet").read_bytes()[:-100])
    assert "cut.parquet" in refused(*words, "--map", str(cut))
    pq.write_table(pq.read_table(whole).drop_columns("embedding"), place / "bare.parquet")
    assert "embedding" in refused(*words, "--map", str(place / "bare.parquet"))
    unnamed = pq.read_table(whole).rename_columns(["name", "embedding"])
    pq.write_table(unnamed, place / "unnamed.parquet")
    assert "a map needs `perturbation`" in refused(*words, "--map", str(place / "unnamed.parquet"))


@pytest.mark.parametrize("verb", [*_MAP_VERBS, *_WELL_VERBS])
def test_nothing_given_is_refused(refused, place, verb):
    assert "needs --" in refused("benchmark", verb)


# --- recall and its permutation test ---


@pytest.mark.parametrize("verb", ["recall", "recall-null"])
def test_fewer_than_twenty_perturbations_have_no_null(refused, place, verb):
    small = _map(place / "map.parquet", _vectors(19))
    assert "19 perturbations, but recall needs at least 20" in refused(
        *_words(_MAP_VERBS, verb, place), "--map", small
    )


@pytest.mark.parametrize("verb", ["recall", "recall-null"])
def test_a_source_without_a_pair_in_the_map_is_refused_alone_and_counted_beside_others(
    refused, rows, place, verb
):
    elsewhere = place / "elsewhere.csv"
    elsewhere.write_text("entity1,entity2\nTP53,MDM2\n")
    found = _map(place / "map.parquet")
    words = ["benchmark", verb, "--map", found, "--annotations", str(elsewhere)]
    assert "no pair of elsewhere has both entities in the map" in refused(*words)
    both = rows(*words, "--annotations", str(place / "pairs.csv"))
    metric = {"recall": "recall", "recall-null": "recall_p_value"}[verb]
    empty, scored = both["elsewhere", metric], both["pairs", metric]
    assert (empty["value"], empty["n"], empty["excluded"]) == (None, 0, 1)
    assert scored["n"] == 3 and scored["value"] is not None


_ANNOTATIONS = {
    "cut inside a line": (_PAIRS[:-5], "empty name|has the columns|cut short"),
    "cut inside the header": ("entity1", "has the columns|header entity1,entity2"),
    "empty": ("", "not a readable CSV"),
    "no rows": ("entity1,entity2\n", "no pair of two different names"),
    "only self pairs": ("entity1,entity2\nG00,G00\n", "no pair of two different names"),
    "another format": ("ComplexID\tsubunits\n1\tG00;G01\n", "has the columns"),
    "three cells in a line": (_PAIRS + "G00,G01,G02\n", "not a readable CSV"),
    "bytes": (b"\xff\xfe\x00PAR1", "not a readable CSV"),
}


@pytest.mark.parametrize("case", _ANNOTATIONS)
@pytest.mark.parametrize("verb", ["recall", "recall-null"])
def test_an_annotation_file_that_is_cut_or_foreign_is_refused(refused, place, verb, case):
    content, message = _ANNOTATIONS[case]
    file = place / "broken.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    line = refused("benchmark", verb, "--map", _map(place / "map.parquet"), "--annotations", str(file))
    assert "broken" in line and any(part in line for part in message.split("|"))


@pytest.mark.parametrize("verb", ["recall", "recall-null"])
def test_a_compressed_annotation_file_that_is_cut_is_refused(refused, place, verb):
    whole = gzip.compress(("entity1,entity2\n" + "".join(f"A{i},B{i * 7}\n" for i in range(4000))).encode())
    (place / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    line = refused(
        "benchmark",
        verb,
        "--map",
        _map(place / "map.parquet"),
        "--annotations",
        str(place / "cut.csv.gz"),
    )
    assert "cut.csv.gz" in line


@pytest.mark.parametrize(("verb", "metric"), [("recall", "recall"), ("recall-null", "recall_p_value")])
def test_pairs_of_zero_vectors_are_excluded(rows, refused, place, verb, metric):
    vectors = _vectors()
    vectors[5] = 0
    words = (*_words(_MAP_VERBS, verb, place), "--map")
    found = rows(*words, _map(place / "map.parquet", vectors))["pairs", metric]
    assert (found["n"], found["excluded"]) == (2, 1)
    assert "all 40 vectors of the map are zero" in refused(*words, _map(place / "z.parquet", 0 * vectors))


def test_zero_vectors_are_excluded_from_arms(rows, refused, place):
    vectors = _vectors()
    vectors[5] = 0
    words = (*_words(_MAP_VERBS, "proximity", place), "--map")
    found = rows(*words, _map(place / "map.parquet", vectors))
    assert found["arms", "probability_above"]["excluded"] == 1
    assert "all 40 vectors of the map are zero" in refused(*words, _map(place / "z.parquet", 0 * vectors))


def test_recall_does_not_depend_on_the_scale_of_the_vectors(rows, place):
    words = (*_words(_MAP_VERBS, "recall", place), "--map")
    names = [f"G{index:02d}" for index in range(40)]
    expected = rows(*words, _map(place / "map.parquet"))["pairs", "recall"]["value"]
    for scale in (1e200, 1e-170):
        lists = pa.array((_vectors().astype(np.float32) * np.float64(scale)).tolist(), pa.list_(pa.float64()))
        pq.write_table(pa.table({"perturbation": names, "embedding": lists}), place / "scaled.parquet")
        found = rows(*words, str(place / "scaled.parquet"))
        assert found["pairs", "recall"]["value"] == expected
        assert ("", "num_zero_vectors") not in found


def test_tails_that_cross_are_refused(refused, place):
    words = _words(_MAP_VERBS, "recall", place)
    found = _map(place / "map.parquet")
    assert "the tails must not meet" in refused(*words, "--map", found, "--lower", ".9", "--upper", ".1")


@pytest.mark.parametrize("verb", ["batch-effect", "proximity"])
def test_a_gene_table_that_is_cut_or_of_other_genes_is_refused_or_counted(refused, rows, place, verb):
    words = ["benchmark", verb, "--map", _map(place / "map.parquet"), "--genes"]
    (place / "cut.csv").write_text("gene")
    assert "cut.csv" in refused(*words, str(place / "cut.csv"))
    (place / "twice.csv").write_text(_GENES + "G00,1q\n")
    assert "lists 1 genes twice" in refused(*words, str(place / "twice.csv"))
    (place / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    assert "not a readable CSV" in refused(*words, str(place / "bytes.csv"))
    (place / "other.csv").write_text("gene,arm\nTP53,17p\n")
    if verb == "proximity":
        assert "needs two arms" in refused(*words, str(place / "other.csv"))
    else:
        row = rows(*words, str(place / "other.csv"))["arm", "balanced_accuracy"]
        assert (row["value"], row["n"], row["excluded"]) == (None, 0, 40)


# --- wells ---


def test_one_replicate_cannot_be_consistent(refused, place):
    alone = [f"C{index}" for index in range(48)]
    found = _wells(place / "wells.parquet", perturbation=alone, is_negative_control=False)
    assert "no perturbation has two wells to compare" in refused(
        "benchmark", "consistency", "--embeddings", found
    )
    both = _wells(place / "wells.parquet")
    line = refused("benchmark", "consistency", "--embeddings", both, "--across", "experiment")
    assert "across: experiment" in line and "or across: any" in line


def test_a_perturbation_with_too_few_pairs_is_counted(rows, place):
    names = [f"C{index % 24 // 2}" if index % 24 < 20 else "DMSO" for index in range(48)]
    names[0], names[1] = "lonely", "lonelier"
    found = rows("benchmark", "consistency", "--embeddings", _wells(place / "w.parquet", perturbation=names))
    # Ten perturbations, one of them in two wells now, and two in one well each.
    assert (found["replicates", "ks_mean"]["n"], found["replicates", "ks_mean"]["excluded"]) == (9, 3)


def test_one_perturbation_has_nothing_to_be_compared_with(refused, place):
    found = _wells(place / "wells.parquet", perturbation="C1", is_negative_control=False)
    line = refused("benchmark", "consistency", "--embeddings", found)
    assert "has a well of another perturbation as its null (perturbations under test: 1" in line
    found = _wells(place / "wells.parquet", is_negative_control=True)
    assert "none of the 48 wells is a pert" in refused("benchmark", "consistency", "--embeddings", found)
    found = _wells(place / "wells.parquet", np.zeros((48, 4)))
    assert "vectors of all 40 wells are zero" in refused("benchmark", "consistency", "--embeddings", found)


def test_guides_without_a_guide_column_are_refused(refused, place):
    words = ["benchmark", "consistency", "--embeddings", _wells(place / "wells.parquet")]
    assert "no `guide` column" in refused(*words, "--replicate", "guide")


@pytest.mark.parametrize("column", ["perturbation", "moa"])
@pytest.mark.parametrize("verb", ["consistency", "moa"])
def test_wells_without_the_column_that_is_scored_are_refused(refused, rows, place, verb, column):
    found = _wells(place / "wells.parquet", **{column: None, "compound": None})
    if (verb, column) == ("consistency", "moa"):
        assert rows("benchmark", verb, "--embeddings", found)
    else:
        assert "need" in refused("benchmark", verb, "--embeddings", found)


@pytest.mark.parametrize(
    ("words", "column"),
    [
        *((("batch-effect",), column) for column in ("experiment", "plate", "well")),
        *((("moa",), column) for column in ("experiment", "plate", "well")),
        *((("consistency", "--across", column), column) for column in ("experiment", "plate")),
    ],
)
def test_wells_without_their_place_are_refused_where_it_matters(refused, place, words, column):
    found = _wells(place / "wells.parquet", **{column: None})
    said = refused("benchmark", *words, "--embeddings", found)
    assert column in said and "batch_key" not in said


def test_without_negative_controls_their_batch_effect_has_no_value(rows, place):
    found = rows(
        "benchmark",
        "batch-effect",
        "--embeddings",
        _wells(place / "wells.parquet", is_negative_control=False),
        "--wells",
        "negative_controls",
    )
    assert {(row["value"], row["n"]) for row in found.values()} == {(None, 0)}
    assert all("is a negative control" in json.loads(row["setting"])["reason"] for row in found.values())


def test_zero_vectors_of_wells_are_scored_as_cosine_zero(rows, place):
    vectors = _vectors(48)
    vectors[:3] = 0
    found = rows("benchmark", "consistency", "--embeddings", _wells(place / "wells.parquet", vectors))
    assert 0 <= found["replicates", "ks_pooled"]["value"] <= 1


def test_the_process_itself_ends_with_2_and_one_line(place):
    """The cases above run in this process; this one shows that the command is no different."""
    small = _map(place / "map.parquet", _vectors(19))
    words = ["benchmark", "recall", "--map", small, "--annotations", str(place / "pairs.csv"), "--json"]
    done = subprocess.run([sys.executable, "-m", "phenoscale", *words], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and "19 perturbations" in done.stderr
