"""PerturbationMap: one vector per perturbation and stratum, readable from a bare Parquet too."""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from phenoscale.errors import UserError
from phenoscale.schema.columns import with_metadata
from phenoscale.schema.maps import FORMAT, parse_map, read_map, write_bare_map, write_map

_HEADER = {"steps": [{"name": "center"}, {"name": "aggregate"}], "strata": ["cell_type"], "encoder": "abc"}


def _map(names=("A", "B", "C"), **columns):
    frame = pd.DataFrame({"perturbation": list(names), **columns})
    vectors = np.random.default_rng(0).standard_normal((len(frame), 4)).astype(np.float32)
    return parse_map(frame, vectors, source="test", header=_HEADER)


def test_a_map_survives_the_round_trip_with_its_steps(tmp_path):
    made = _map(gene=["A", "B", ""], timepoint_h=[24.0, 24.0, 24.0])
    write_map(tmp_path, made)
    read = read_map(tmp_path)
    assert read.frame.equals(made.frame)
    assert np.array_equal(read.embeddings, made.embeddings)
    assert [step["name"] for step in read.steps] == ["center", "aggregate"]
    assert (read.strata, read.encoder, read.digest) == (("cell_type",), "abc", made.digest)
    header = json.loads((tmp_path / "map.json").read_text())
    assert (header["digest"], header["num_perturbations"], header["dimensions"]) == (made.digest, 3, 4)


def test_a_bare_parquet_of_names_and_lists_is_a_map(tmp_path):
    pd.DataFrame({"perturbation": ["A", "B"], "embedding": [[1.0, 2.0], [3.0, 4.0]]}).to_parquet(
        tmp_path / "bare.parquet"
    )
    read = read_map(tmp_path / "bare.parquet")
    assert read.entities.tolist() == ["A", "B"]
    assert read.embeddings.tolist() == [[1, 2], [3, 4]]
    assert (read.steps, read.strata) == ((), ())


def test_one_file_knows_the_steps_that_made_it(tmp_path):
    write_bare_map(tmp_path / "1_center.parquet", _map())
    assert [step["name"] for step in read_map(tmp_path / "1_center.parquet").steps] == ["center", "aggregate"]


def test_entities_are_genes_where_there_are_any():
    assert _map(gene=["TP53", "", None]).entities.tolist() == ["TP53", "B", "C"]


def test_duplicate_labels_are_refused_unless_a_stratum_or_dose_tells_them_apart():
    with pytest.raises(UserError, match=r"1 labels twice, such as \['A'\]"):
        _map(names=("A", "A", "B"))
    assert len(_map(names=("A", "A", "B"), cell_type=["x", "y", "x"])) == 3
    assert len(_map(names=("A", "A", "B"), concentration_um=[1.0, 3.0, np.nan])) == 3


def test_unnamed_perturbations_and_unnamed_maps_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"no perturbation in the rows \[1\]"):
        _map(names=("A", "", "B"))
    pd.DataFrame({"gene": ["A"], "embedding": [[1.0]]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"has the columns \[.*'embedding'\], but a map needs `perturbation`"):
        read_map(tmp_path / "a.parquet")


def test_strata_are_never_mixed():
    made = _map(names=("A", "B", "A", "B"), cell_type=["x", "x", "y", "y"])
    parts = made.by_stratum()
    assert [stratum for stratum, _ in parts] == [{"cell_type": "x"}, {"cell_type": "y"}]
    assert [part.entities.tolist() for _, part in parts] == [["A", "B"], ["A", "B"]]
    assert np.array_equal(parts[1][1].embeddings, made.embeddings[2:])


def test_a_map_of_another_version_is_refused_by_name(tmp_path):
    write_map(tmp_path, _map())
    file = tmp_path / "map.parquet"
    assert json.loads((tmp_path / "map.json").read_text())["format_version"] == FORMAT.version
    pq.write_table(with_metadata(pq.read_table(file), {**FORMAT.header, "format_version": 9}), file)
    with pytest.raises(UserError, match=r"map, version 9, but .* reads version 1; run `phenoscale map"):
        read_map(tmp_path)
