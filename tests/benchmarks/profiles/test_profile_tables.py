"""Profile tables: what is read, what is joined, and what is refused with a way out."""

import gzip
import logging

import numpy as np
import pandas as pd
import pytest

from phenoscale.benchmarks.profiles.profile_tables import (
    consensus,
    join_profiles,
    label_sets,
    negative_controls,
    read_profiles,
    read_targets,
)
from phenoscale.errors import UserError
from phenoscale.schema.embeddings import EmbeddingTable, write_embeddings
from tests.support.wells import in_two_screens


def _plate(name, *, features=("f1", "f2", "f3"), seed=0):
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "Metadata_Plate": name,
            "Metadata_Well": ["A01", "A02", "A03", "A04"],
            "Metadata_broad_sample": ["007", "b", "", "b"],
            "Metadata_control_type": ["", "", "negcon", ""],
        }
    )
    values = generator.standard_normal((4, len(features)))
    return pd.concat([frame, pd.DataFrame(values, columns=list(features))], axis=1)


def test_files_of_all_kinds_are_joined_by_the_features_they_share(tmp_path):
    plates = {
        "a.csv": _plate("a", seed=1),
        "b.csv.gz": _plate("b", features=("f3", "extra", "f1", "f2"), seed=2),
        "c.parquet": _plate("c", features=("f2", "f1", "f3"), seed=3),
    }
    plates["a.csv"].to_csv(tmp_path / "a.csv", index=False)
    plates["b.csv.gz"].to_csv(tmp_path / "b.csv.gz", index=False)
    plates["c.parquet"].to_parquet(tmp_path / "c.parquet")
    found = read_profiles(str(tmp_path / "*"))
    assert found.features == ["f1", "f2", "f3"]
    assert found.dropped_features == {"extra"}
    assert found.settings == {"dropped_features": 1}
    expected = np.concatenate([plate[["f1", "f2", "f3"]].to_numpy() for plate in plates.values()])
    assert np.allclose(found.vectors, expected, rtol=1e-12)
    assert found.frame["Metadata_Plate"].tolist() == ["a"] * 4 + ["b"] * 4 + ["c"] * 4
    assert found.frame["Metadata_broad_sample"].tolist() == ["007", "b", "", "b"] * 3


def test_an_embedding_table_is_read_as_profiles(tmp_path):
    frame = pd.DataFrame(
        {"experiment": "e", "plate": ["p", "p", "q"], "well": ["A01", "A02", "A01"],
         "is_negative_control": [True, False, False], "perturbation": ["c", "x", "x"]}
    )  # fmt: skip
    vectors = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    write_embeddings(tmp_path / "wells", EmbeddingTable(frame, vectors, "well"))
    found = read_profiles(str(tmp_path))
    assert np.array_equal(found.vectors, vectors)
    assert negative_controls(found, column="is_negative_control", value="true").tolist() == [
        True,
        False,
        False,
    ]
    assert len(found.features) == 5


def test_a_folder_of_tables_is_refused_with_the_glob_that_was_meant(tmp_path):
    _plate("a").to_csv(tmp_path / "a.csv.gz")
    with pytest.raises(UserError, match=r"1 files \*\.csv\.gz, .* as a glob: '.*/\*\.csv\.gz'$"):
        read_profiles(str(tmp_path))


def test_a_consensus_is_the_median_of_each_name():
    profiles = _profiles(["b", "a", "b", "b"], [[1.0, 5.0], [2.0, 0.0], [3.0, 1.0], [8.0, 3.0]])
    found = consensus(profiles, by="Metadata_name")
    assert found.frame["Metadata_name"].tolist() == ["a", "b"]
    assert found.vectors.tolist() == [[2.0, 0.0], [3.0, 3.0]]


def test_joined_profiles_have_the_features_of_both_in_one_order():
    first = _profiles(["a"], [[1.0, 2.0]], features=["x", "y"])
    second = _profiles(["b"], [[5.0, 6.0, 7.0]], features=["y", "z", "x"])
    joined = join_profiles(first, second)
    assert joined.features == ["x", "y"]
    assert joined.vectors.tolist() == [[1.0, 2.0], [7.0, 5.0]]
    with pytest.raises(UserError, match="no feature in common"):
        join_profiles(first, _profiles(["b"], [[1.0]], features=["w"]))


def test_labels_are_split_only_where_a_separator_is_given():
    texts = np.array(["A|B", " C ", "", "A|"])
    assert label_sets(texts) == [frozenset("AB"), frozenset("C"), frozenset(), frozenset("A")]
    assert label_sets(texts, separator="")[0] == frozenset({"A|B"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plate: plate.assign(f1=np.nan), "NaN or infinite"),
        (lambda plate: plate.assign(f1="text"), "holds text in the features"),
        (lambda plate: pd.concat([plate, plate]), "rows twice, such as"),
        (lambda plate: plate.iloc[:0], "a header and no rows"),
        (lambda plate: plate[["f1", "f2"]], "start with Metadata_"),
        (lambda plate: plate.filter(like="Metadata_"), "start with Metadata_"),
    ],
)
def test_a_broken_table_is_refused(tmp_path, change, message):
    change(_plate("a")).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(UserError, match=message):
        read_profiles(str(tmp_path / "*.csv"))


def test_files_that_do_not_fit_or_are_cut_short_are_refused(tmp_path):
    with pytest.raises(UserError, match="no file matches"):
        read_profiles(str(tmp_path / "*.csv"))
    whole = gzip.compress(_plate("a").to_csv(index=False).encode())
    (tmp_path / "a.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="not a readable table"):
        read_profiles(str(tmp_path / "a.csv.gz"))
    (tmp_path / "b.csv").write_text("")
    with pytest.raises(UserError, match="not a readable table"):
        read_profiles(str(tmp_path / "b.csv"))
    (tmp_path / "c.xlsx").write_text("x")
    with pytest.raises(UserError, match=r"csv, csv\.gz, tsv or parquet"):
        read_profiles(str(tmp_path / "c.xlsx"))
    _plate("d").to_csv(tmp_path / "d.csv", index=False)
    _plate("e", features=("g1",)).to_csv(tmp_path / "e.csv", index=False)
    with pytest.raises(UserError, match="no feature in common"):
        read_profiles(str(tmp_path / "[de].csv"))


def test_a_zero_vector_a_missing_column_and_missing_controls_are_named():
    profiles = _profiles(["a", "b"], [[0.0, 0.0], [1.0, 2.0]])
    with pytest.raises(UserError, match=r"1 zero vectors \(rows \[0\]\)"):
        profiles.units()
    with pytest.raises(UserError, match="needs `Metadata_plate`"):
        profiles.column("Metadata_plate", purpose="a test")
    with pytest.raises(UserError, match="no negative control: no row holds 'negcon'"):
        negative_controls(profiles, column="Metadata_name", value="negcon")


def test_targets_are_found_beside_the_profiles_or_where_they_are_said_to_be(tmp_path):
    table = pd.DataFrame({"broad_sample": ["a", "b"], "target_list": ["X|Y", ""], "smiles": ["C", "CC"]})
    table.to_csv(tmp_path / "compound_metadata.tsv", sep="\t", index=False)
    beside = str(tmp_path / "*.csv.gz")
    targets = {"a": "X|Y", "b": ""}
    assert read_targets("", beside=beside, column="Metadata_target_list") == targets
    named = tmp_path / "named.csv"
    table.add_prefix("Metadata_").to_csv(named, index=False)
    assert read_targets(str(named), beside="", column="Metadata_target_list") == targets
    table.to_csv(tmp_path / "more_compounds.csv", index=False)
    with pytest.raises(UserError, match="2 tables with broad_sample and target_list"):
        read_targets("", beside=beside, column="Metadata_target_list")
    table[["smiles"]].to_csv(named, index=False)
    with pytest.raises(UserError, match="give the compound metadata"):
        read_targets(str(named), beside="", column="Metadata_target_list")


def _profiles(names, vectors, *, features=("x", "y")):
    from phenoscale.benchmarks.profiles.profile_tables import Profiles

    frame = pd.DataFrame({"Metadata_name": names})
    return Profiles(frame, np.array(vectors), list(features), source="these profiles")


def test_plates_of_one_name_in_two_experiments_are_two_plates(tmp_path):
    plates = [_plate("a").assign(Metadata_Experiment=name) for name in ("E1", "E2")]
    pd.concat(plates).to_csv(tmp_path / "a.csv", index=False)
    assert len(read_profiles(str(tmp_path / "a.csv")).frame) == 2 * len(_plate("a"))


def test_a_plate_that_lacks_features_is_named_with_their_number(tmp_path, caplog):
    _plate("a").to_csv(tmp_path / "a.csv", index=False)
    _plate("b").drop(columns=["f2", "f3"]).to_csv(tmp_path / "b.csv", index=False)
    with caplog.at_level(logging.WARNING, logger="phenoscale"):
        found = read_profiles(str(tmp_path / "*"))
    assert found.dropped_features == {"f2", "f3"}
    assert caplog.text.count("left out") == 1 and "file=b.csv plate=b missing=2 of=3" in caplog.text


def test_a_zero_vector_is_named_by_its_plate_and_well(tmp_path):
    plate = _plate("a")
    plate.loc[2, ["f1", "f2", "f3"]] = 0.0
    plate.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(UserError, match=r"1 zero vectors \(wells \['a/A03'\]\)"):
        read_profiles(str(tmp_path / "*")).units()


def test_plates_of_equal_names_are_told_apart_by_what_holds_them(tmp_path):
    frame = pd.DataFrame({"experiment": "e", "plate": ["p", "q"], "well": "A01"})
    table = in_two_screens(EmbeddingTable(frame, np.eye(2), "well"))
    write_embeddings(tmp_path / "wells", table)
    found = read_profiles(str(tmp_path))
    assert len(found) == 4
    assert found.column("plate", purpose="a test").tolist() == ["one/e/p", "one/e/q", "two/e/p", "two/e/q"]
    for holder in ("Metadata_Experiment", "Metadata_Screen"):
        plates = [_plate("p", seed=number).assign(**{holder: name}) for number, name in enumerate("ab")]
        pd.concat(plates).to_csv(tmp_path / "plates.csv", index=False)
        profiles = read_profiles(str(tmp_path / "plates.csv"))
        assert len(set(profiles.column("Metadata_Plate", purpose="a test"))) == 2
