"""The `embedding` column: written as fixed-size lists, read from any list, checked once."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from phenoscale.errors import UserError
from phenoscale.schema.columns import (
    digest_columns,
    embedding_table,
    read_metadata,
    read_parquet,
    split_embeddings,
    write_parquet,
)


def _frame(rows=4):
    return pd.DataFrame({"perturbation": [f"G{index}" for index in range(rows)]})


def test_vectors_and_metadata_survive_a_round_trip(tmp_path):
    vectors = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    write_parquet(tmp_path / "a.parquet", embedding_table(_frame(), vectors, metadata={"level": "well"}))
    arrow = read_parquet(tmp_path / "a.parquet")
    frame, read = split_embeddings(arrow, source="a")
    assert pa.types.is_fixed_size_list(arrow.schema.field("embedding").type)
    assert np.array_equal(read, vectors)
    assert frame.equals(_frame())
    assert read_metadata(arrow.schema) == {"level": "well"}


def test_other_tools_read_the_file_without_knowing_it(tmp_path):
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    write_parquet(tmp_path / "a.parquet", embedding_table(_frame(), vectors, metadata={}))
    frame = pd.read_parquet(tmp_path / "a.parquet")
    assert np.array_equal(np.stack(frame["embedding"]), vectors)


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.list_(pa.int64()), pa.large_list(pa.float32())])
def test_plain_lists_of_any_number_type_are_accepted(kind):
    table = pa.table({"embedding": pa.array([[1, 2], [3, 4], [5, 6]], kind)})
    _, vectors = split_embeddings(table, source="a")
    assert vectors.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert vectors.dtype == (np.float64 if kind == pa.list_(pa.float64()) else np.float32)


def test_a_slice_of_a_table_gives_the_vectors_of_the_slice():
    vectors = np.arange(20, dtype=np.float32).reshape(10, 2)
    table = embedding_table(_frame(10), vectors, metadata={})
    _, read = split_embeddings(table.slice(3, 4), source="a")
    assert np.array_equal(read, vectors[3:7])


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([[1.0, 2.0], [3.0]]), r"vectors of \[1, 2\] dimensions, but all must have the same"),
        (pa.array([[1.0, 2.0], None]), "lacks the vector in 1 rows"),
        (
            pa.array([[1.0, float("nan")], [3.0, 4.0]]),
            r"NaN or infinite values in 1 of 2 vectors \(rows \[0\]\)",
        ),
        (pa.array([[1.0, 2.0], [3.0, float("inf")]]), "NaN or infinite values in 1 of 2"),
        (pa.array([[1.0, 2.0], [3.0, None]]), "NaN or infinite values in 1 of 2"),
        (pa.array([["a"], ["b"]]), "but needs numbers"),
        (pa.array([1.0, 2.0]), "each row needs a list of numbers"),
        (pa.array([], pa.list_(pa.float32())), "has no rows"),
        (pa.array([[], []], pa.list_(pa.float32())), "0 dimensions"),
    ],
)
def test_a_bad_column_is_refused_with_what_is_wrong(column, message):
    with pytest.raises(UserError, match=message):
        split_embeddings(pa.table({"embedding": column}), source="a.parquet")


def test_a_table_without_vectors_is_refused_with_its_columns():
    with pytest.raises(UserError, match=r"columns \['x'\], but needs `embedding`"):
        split_embeddings(pa.table({"x": [1]}), source="a.parquet")


def test_a_missing_and_a_broken_file_are_refused_by_name(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_parquet(tmp_path / "none.parquet")
    vectors = np.zeros((4, 3), np.float32)
    write_parquet(tmp_path / "a.parquet", embedding_table(_frame(), vectors, metadata={}))
    cut = tmp_path / "cut.parquet"
    cut.write_bytes((tmp_path / "a.parquet").read_bytes()[:-40])
    with pytest.raises(UserError, match="not a readable Parquet file"):
        read_parquet(cut)


def test_the_digest_knows_values_and_not_the_file_layout(tmp_path):
    vectors = np.random.default_rng(1).standard_normal((4, 3)).astype(np.float32)
    frame = _frame().assign(dose=[1.0, np.nan, 2.0, 3.0], image=[["a", "b"]] * 4)
    pq.write_table(embedding_table(frame, vectors, metadata={}), tmp_path / "b.parquet", row_group_size=1)
    read, again = split_embeddings(read_parquet(tmp_path / "b.parquet"), source="b")
    assert digest_columns(read, again) == digest_columns(frame, vectors)
    assert digest_columns(frame, vectors + 1) != digest_columns(frame, vectors)
    assert digest_columns(frame.assign(dose=0.0), vectors) != digest_columns(frame, vectors)
