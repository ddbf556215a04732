"""Annotations: undirected, unique pairs; the counts of the shipped sources are met exactly."""

import gzip

import pandas as pd
import pytest

from phenoscale.benchmarks.relations.annotations import (
    by_number_of_sources,
    make_source,
    read_annotations,
    read_sources,
    source_name,
)
from phenoscale.errors import UserError

# science.md 8.1: unique undirected pairs, entities, rows of the file.
_PUBLISHED = {
    "CORUM": (37_649, 3_505, 75_298),
    "HuMAP": (58_538, 7_368, 117_076),
    "Reactome": (18_565, 4_509, 22_865),
    "SIGNOR": (11_617, 4_544, 12_177),
    "StringDB": (58_059, 10_335, 116_118),
}


def test_direction_repeats_and_self_pairs_are_dropped():
    source = make_source("x", [("B", "A"), ("A", "B"), ("A", "A"), (" C", "A")])
    assert source.pairs.tolist() == [["A", "B"], ["A", "C"]]
    assert (len(source), source.num_rows, source.entities.tolist()) == (2, 4, ["A", "B", "C"])


def test_the_name_of_a_source_is_the_stem_of_its_file(tmp_path):
    text = "entity1,entity2\nA,B\n"
    (tmp_path / "CORUM.csv").write_text(text)
    (tmp_path / "my.pairs.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert read_annotations(tmp_path / "CORUM.csv").name == "CORUM"
    assert read_annotations(tmp_path / "my.pairs.csv.gz").name == "my.pairs"


def test_names_that_look_like_missing_values_or_numbers_are_names(tmp_path):
    (tmp_path / "a.csv").write_text("entity1,entity2\nNA,NAN\n1,02\n")
    assert read_annotations(tmp_path / "a.csv").pairs.tolist() == [["02", "1"], ["NA", "NAN"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\nA,B\n", r"has the columns \['a', 'b'\]"),
        ("", "not a readable CSV"),
        ("entity1,entity2\nA,B\nC\n", r"empty name in 1 of 2 pairs \(line 3 first\).*cut short"),
        ("entity1,entity2\nA,A\n", "no pair of two different names"),
        ("entity1,entity2\nA,B\nC,D,E\n", "not a readable CSV"),
    ],
)
def test_a_file_of_another_format_is_refused_with_what_is_wrong(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_annotations(tmp_path / "a.csv")


def test_a_truncated_archive_and_a_missing_file_are_refused(tmp_path):
    whole = gzip.compress(b"entity1,entity2\n" + b"".join(b"G%d,H%d\n" % (i, i) for i in range(5000)))
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="not a readable CSV"):
        read_annotations(tmp_path / "cut.csv.gz")
    with pytest.raises(UserError, match="does not exist"):
        read_annotations(tmp_path / "none.csv")


@pytest.mark.parametrize("name", list(_PUBLISHED))
def test_the_shipped_sources_have_the_published_counts(real_data, name):
    folder = real_data("gene_annotations") / "efaar_benchmark_annotations"
    file = next(path for path in folder.iterdir() if path.name.split(".")[0] == name)
    source = read_annotations(file)
    assert (len(source), len(source.entities), source.num_rows) == _PUBLISHED[name]


def test_sources_of_the_same_name_are_refused_by_name_and_both_paths(tmp_path):
    paths = [tmp_path / place for place in ("a/CORUM.csv", "b/CORUM.csv.gz", "b/mine.csv")]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        pd.DataFrame({"entity1": ["A"], "entity2": ["B"]}).to_csv(path, index=False)
    assert [source.name for source in read_sources(paths[1:])] == ["CORUM", "mine"]
    for first, second in ((paths[0], paths[1]), (paths[2], paths[2])):
        with pytest.raises(UserError) as caught:
            read_sources([str(first), str(second)])
        assert f"{first} and {second} are both named {source_name(first)}" in str(caught.value)


def test_pairs_are_grouped_by_how_many_sources_have_them():
    sources = [
        make_source("a", [("A", "B"), ("A", "C"), ("B", "C")]),
        make_source("b", [("B", "A"), ("C", "A")]),
        make_source("c", [("A", "B"), ("X", "Y")]),
    ]
    found = by_number_of_sources(sources)
    assert [(each.name, each.pairs.tolist()) for each in found] == [
        ("at least 1 of 3 sources", [["A", "B"], ["A", "C"], ["B", "C"], ["X", "Y"]]),
        ("at least 2 of 3 sources", [["A", "B"], ["A", "C"]]),
        ("at least 3 of 3 sources", [["A", "B"]]),
    ]


def test_the_shipped_sources_share_the_published_numbers_of_pairs(real_data):
    folder = real_data("gene_annotations") / "efaar_benchmark_annotations"
    found = by_number_of_sources([read_annotations(folder / f"{name}.txt") for name in _PUBLISHED])
    assert (len(found[0]), len(found[1]), len(found[4])) == (143_252, 29_600, 54)
