"""Annotation import: what each source's official files hold, by hand, and what is refused."""

import gzip
import hashlib
import json
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from phenoscale.benchmarks.relations.annotation_import import run_annotations
from phenoscale.benchmarks.relations.annotations import read_annotations
from phenoscale.benchmarks.relations.config import AnnotationsConfig
from phenoscale.errors import UserError
from phenoscale.schema.maps import parse_map, write_bare_map

_CORUM_4 = (
    "ComplexID\tComplexName\tOrganism\tsubunits(Gene name)\n"
    "1\tone\tHuman\tA;B; C\n2\tmouse\tMouse\tD;E\n3\tsingle\tHuman\tF;None\n4\tpair\tHuman\tB;A\n"
)
_CORUM_5 = "complex_id\tcomplex_name\torganism\tsubunits_gene_name\n1\tone\tHuman\tA;B;C\n"
_HUMAP = "HuMAP3_ID,ComplexConfidence,Uniprot_ACCs,genenames\nhuMAP3_1,1,P1 P2 P3,A B C\n"
_FI = "Gene1\tGene2\tAnnotation\tDirection\tScore\nA\tB\tcatalyze\t->\t1.00\nB\tC\tpredicted\t-\t0.90\n"
_INTERACTIONS = (
    "# Interactor 1 uniprot id\tInteractor 1 Ensembl gene id\tInteractor 2 uniprot id\n"
    "uniprotkb:P1-2\tENSG\tuniprotkb:P2\nuniprotkb:P1\tENSG\tuniprotkb:P9\n"
)
_PARTICIPANTS = (
    "identifier\tname\tparticipants\tparticipatingComplex\tpubMedIdentifiers\n"
    "R-HSA-1\tx [cytosol]\tuniprot:P1|uniprot:P2|chebi:1|uniprot:P3\t-\t-\n"
)
_SIGNOR = (
    "ENTITYA\tTYPEA\tIDA\tDATABASEA\tENTITYB\tTYPEB\tIDB\tEFFECT\n"
    "A\tprotein\tP1\tUNIPROT\tB\tprotein\tP2\tup-regulates\n"
    "A\tprotein\tP1\tUNIPROT\tgrowth\tphenotype\tS1\tup-regulates\n"
    "B\tprotein\tP2\tUNIPROT\tA\tprotein\tP1\tdown-regulates\n"
)
_STRING = (
    "protein1 protein2 combined_score\n9606.E1 9606.E2 999\n9606.E2 9606.E1 999\n9606.E1 9606.E3 950\n"
    "9606.E2 9606.E4 960\n"
)
_INFO = (
    "#string_protein_id\tpreferred_name\tprotein_size\tannotation\n"
    "9606.E1\tA\t9\tx\n9606.E2\tB\t9\ty\n9606.E3\tC\t9\tz\n"
)
_ALIASES = (
    "#string_protein_id\talias\tsource\n9606.E1\tA\tEnsembl_HGNC_symbol\n9606.E1\told\tUniProt_GN\n"
    "9606.E2\tB\tEnsembl_HGNC_symbol\n9606.E3\tC\tEnsembl_HGNC_symbol\n"
)
_UNIPROT = "accession,symbol\nP1,A\nP2,B\nP3,C\n"
_TRIANGLE = [["A", "B"], ["A", "C"], ["B", "C"]]


def _import(folder, text, **settings):
    (folder / "file.txt").write_text(text)
    config = AnnotationsConfig(
        path=str(folder / "file.txt"), output=str(folder / "out" / "NAME.csv"), **settings
    )
    rows = run_annotations(config)
    counts = {row.metric: row.value for row in rows if row.value}
    return read_annotations(folder / "out" / "NAME.csv").pairs.tolist(), counts


def _names(folder, text):
    (folder / "names.txt").write_text(text)
    return str(folder / "names.txt")


@pytest.mark.parametrize(
    ("source", "text", "names", "pairs"),
    [
        ("corum", _CORUM_4, "", _TRIANGLE),
        ("corum", _CORUM_5, "", _TRIANGLE),
        ("humap", _HUMAP, "", _TRIANGLE),
        ("humap", "A B C\nC D\n", "", [*_TRIANGLE, ["C", "D"]]),
        ("humap", "A\tB\t0.9\nB\tC\t0.1\n", "", [["A", "B"], ["B", "C"]]),
        ("reactome", _FI, "", [["A", "B"], ["B", "C"]]),
        ("reactome", _INTERACTIONS, _UNIPROT, [["A", "B"]]),
        ("reactome", _PARTICIPANTS, _UNIPROT, _TRIANGLE),
        ("signor", _SIGNOR, "", [["A", "B"]]),
        ("string", _STRING, _INFO, [["A", "B"]]),
        ("string", _STRING, _ALIASES, [["A", "B"]]),
        ("pairs", "entity2,x,entity1\nA,1,B\nB,2,A\nA,3,A\n", "", [["A", "B"]]),
        ("pairs", "entity1\tentity2\nA\tB\n", "", [["A", "B"]]),
    ],
)
def test_each_official_format_gives_its_pairs(tmp_path, source, text, names, pairs):
    settings = {"names": _names(tmp_path, names)} if names else {}
    assert _import(tmp_path, text, source=source, **settings)[0] == pairs


def test_a_complex_gives_every_pair_of_its_members(tmp_path):
    genes = [f"G{index:02d}" for index in range(30)]
    text = _CORUM_5.splitlines()[0] + f"\n1\tone\tHuman\t{';'.join(genes)}\n"
    assert _import(tmp_path, text, source="corum")[0] == [list(pair) for pair in combinations(genes, 2)]


def test_what_is_left_out_is_counted(tmp_path):
    _, counts = _import(tmp_path, _CORUM_4, source="corum")
    assert counts == {
        "num_pairs": 3,
        "num_entities": 3,
        "num_rows": 4,
        "excluded_complexes_of_other_organisms": 1,
        "excluded_members_without_name": 1,
        "excluded_complexes_of_one": 1,
    }
    _, counts = _import(tmp_path, _STRING, source="string", names=_names(tmp_path, _INFO))
    assert (
        counts["excluded_rows_with_a_low_score"],
        counts["excluded_pairs_with_an_unknown_identifier"],
    ) == (1, 1)
    _, counts = _import(tmp_path, _SIGNOR, source="signor")
    assert counts["excluded_rows_not_of_two_proteins"] == 1


def test_scores_must_be_above_the_threshold_as_in_the_definition_of_string_recall(tmp_path):
    names = _names(tmp_path, _INFO)
    assert _import(tmp_path, _STRING, source="string", names=names, above=0.94)[0] == [["A", "B"], ["A", "C"]]
    assert _import(tmp_path, _FI, source="reactome", above=0.9)[0] == [["A", "B"]]
    assert _import(tmp_path, "A\tB\t0.5\nB\tC\t0.1\n", source="humap", above=0.2)[0] == [["A", "B"]]


def test_outdated_symbols_are_replaced_and_counted(tmp_path):
    (tmp_path / "aliases.csv").write_text("alias,symbol\nold,NEW\nboth,X\nboth,Y\nY,Z\nunused,W\n")
    pairs, counts = _import(
        tmp_path,
        "entity1,entity2\nold,A\nNEW,A\nboth,A\nY,A\nold,NEW\n",
        aliases=str(tmp_path / "aliases.csv"),
    )
    # `both` stands for two symbols and Y is a symbol itself: neither is replaced.
    assert pairs == [["A", "NEW"], ["A", "Y"], ["A", "both"]]
    assert (counts["num_renamed"], counts["num_ambiguous_aliases"], counts["num_self_pairs"]) == (1, 1, 1)


def test_the_overlap_with_a_map_is_counted(tmp_path):
    frame = pd.DataFrame({"perturbation": ["A", "B", "Z"]})
    write_bare_map(tmp_path / "map.parquet", parse_map(frame, np.eye(3), source="test"))
    _, counts = _import(tmp_path, _CORUM_5, source="corum", map=str(tmp_path / "map.parquet"))
    assert (counts["num_pairs_in_map"], counts["num_entities_in_map"]) == (1, 2)


def test_the_provenance_lies_beside_the_pairs_and_names_no_folder(tmp_path):
    packed = gzip.compress(_STRING.encode())
    file = tmp_path / "9606.protein.links.v12.0.txt.gz"
    file.write_bytes(packed)
    settings = {"path": str(file), "output": str(tmp_path / "StringDB.csv"), "names": _names(tmp_path, _INFO)}
    rows = run_annotations(AnnotationsConfig(source="string", **settings))
    document = json.loads((tmp_path / "StringDB.csv.json").read_text())
    assert document["sha256"] == hashlib.sha256(packed).hexdigest()
    assert (document["version"], document["license"], document["file"]) == ("v12.0", "CC BY 4.0", file.name)
    assert document["settings"]["above"] == 0.95
    assert document["counts"] == {row.metric: row.value for row in rows}
    assert {row.source for row in rows} == {"StringDB"}
    assert str(tmp_path) not in (tmp_path / "StringDB.csv.json").read_text()
    with pytest.raises(UserError, match=r"has the SHA-256 .*, not 00; download it again"):
        run_annotations(AnnotationsConfig(source="string", sha256="00", **settings))


@pytest.mark.parametrize(
    ("source", "text", "message"),
    [
        ("corum", _HUMAP, r"begins with .*CORUM's columns.*check --source"),
        ("humap", "a,b\nA,B\n", "hu.MAP's complexes"),
        ("reactome", _SIGNOR, "columns of Reactome's FIsInGene"),
        ("signor", _FI, r"the columns \['ENTITYA'"),
        ("pairs", "a,b\nA,B\n", r"the columns \['entity1', 'entity2'\]"),
        ("string", _STRING, "give --names with their symbols"),
        ("reactome", _INTERACTIONS, "give --names with their symbols"),
        ("signor", _SIGNOR[:-10], "has no end, as in a file that was cut short"),
        (
            "corum",
            _CORUM_5 + "2\ttwo\n",
            "line 3 of .* has 2 cells, but the first has 4; the file may be cut",
        ),
        ("reactome", _FI.replace("0.90", "x"), "row 2 of .* has the score 'x'"),
        ("pairs", "entity1,entity2\nA,B\nC,\n", r"empty name in 1 of 2 pairs \(line 3 first\)"),
        ("corum", _CORUM_5.replace("Human", "Rat"), r"gives no pair from 1 rows \(left out: .*organisms"),
        ("corum", "", "begins with"),
    ],
)
def test_another_format_or_a_file_cut_short_is_refused(tmp_path, source, text, message):
    with pytest.raises(UserError, match=message):
        _import(tmp_path, text, source=source)
    assert not (tmp_path / "out").exists()


def test_a_cut_archive_and_a_missing_file_are_refused(tmp_path):
    whole = gzip.compress(_SIGNOR.encode())
    (tmp_path / "cut.tsv.gz").write_bytes(whole[: len(whole) // 2])
    for name, message in (("cut.tsv.gz", "may be cut short"), ("none.tsv", "does not exist")):
        config = AnnotationsConfig(
            source="signor", path=str(tmp_path / name), output=str(tmp_path / "out.csv")
        )
        with pytest.raises(UserError, match=message):
            run_annotations(config)
    assert not (tmp_path / "out.csv").exists()


def test_the_real_release_of_corum_is_read_whole(tmp_path, real_data):
    file = real_data("gene_annotations") / "CORUM_humanComplexes.txt.gz"
    output = tmp_path / "CORUM.csv"
    rows = run_annotations(AnnotationsConfig(source="corum", path=str(file), output=str(output)))
    counts = {row.metric: row.value for row in rows}
    # An independent reading: pandas splits the column, numpy counts the pairs of each complex.
    table = pd.read_csv(file, sep="\t", quoting=3)
    complexes = [sorted(set(names.split(";")) - {"None"}) for names in table["subunits(Gene name)"]]
    expected = {pair for names in complexes for pair in combinations(names, 2)}
    assert counts["num_rows"] == len(table) == 3684
    assert set(map(tuple, read_annotations(output).pairs.tolist())) == expected
    assert counts["num_pairs"] == len(expected) == 46_067
