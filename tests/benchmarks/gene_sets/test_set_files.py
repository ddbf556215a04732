"""Gene sets are read from three forms; cut-off and other files are refused."""

import gzip

import pytest

from phenoscale.benchmarks.gene_sets.set_files import read_gene_sets, read_set_sources, sets_in_map
from phenoscale.errors import UserError

_EXPECTED = {"complex one": ("A", "B", "C"), "two": ("B", "D")}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sets.gmt", "complex one\thttp\tB\tA\tC\ntwo\t\tD\tB\n"),
        ("sets.tsv", "complex one\tC B A A\ntwo\tB D\n"),
        ("sets.csv", "cluster,gene\ncomplex one,A\ntwo,B\ncomplex one,C\ncomplex one,B\ntwo,D\n"),
        ("sets.txt", "gene\tcluster\tscore\nA\tcomplex one\t1\nB\ttwo\t2\nC\tcomplex one\t1\n"
                     "B\tcomplex one\t4\nD\ttwo\t5\n"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("packed", [False, True])
def test_the_three_forms_give_the_same_sets(tmp_path, name, text, packed):
    file = tmp_path / (name + ".gz" if packed else name)
    file.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    found = read_gene_sets(file)
    assert found.sets == _EXPECTED
    assert found.name == "sets"


def test_genes_outside_the_map_are_dropped_before_sets_are_counted(tmp_path):
    file = tmp_path / "sets.tsv"
    file.write_text("complex one\tC B A\ntwo\tB D\n")
    inside = sets_in_map(read_gene_sets(file), {"A", "B", "C"}, min_genes=2)
    assert inside.members == {"complex one": ("A", "B", "C")}
    assert inside.num_excluded == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", b"", "is empty"),
        ("a.tsv", b"one\tA B\ntw", "line 2 'tw'"),
        ("a.gmt", b"one\tdescription\tA\ntwo\tdescription", "line 2"),
        ("a.tsv", b"one\tA B\none\tC D\n", "names the set 'one' twice"),
        ("a.csv", b"cluster,gene\none,A\none\n", "line 3"),
        ("a.csv", b"cluster,gene\n", "no rows"),
        ("a.csv", b"entity1,entity2\nA,B\n", "line 1"),
        ("a.tsv.gz", gzip.compress(b"one\tA B\n" * 50, mtime=0)[:-12], "is not readable text"),
        ("a.tsv", b"\xff\xfe\x00", "is not readable text"),
    ],
)
def test_cut_off_or_other_files_are_refused(tmp_path, name, content, message):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_gene_sets(file)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_gene_sets(tmp_path / "none.gmt")


def test_two_files_of_one_name_are_refused(tmp_path):
    files = [tmp_path / place for place in ("a/sets.tsv", "b/sets.tsv", "b/more.tsv")]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_text("one\tA B\n")
    assert [found.name for found in read_set_sources(files[1:])] == ["sets", "more"]
    with pytest.raises(UserError, match=f"{files[0]} and {files[1]} are both named sets"):
        read_set_sources(files[:2])
