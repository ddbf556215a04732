"""EmbeddingTable: a dataset partitioned by experiment and plate that gives back what was written."""

import numpy as np
import pandas as pd
import pytest

from phenoscale.errors import UserError
from phenoscale.schema.embeddings import (
    EmbeddingTable,
    iterate_partitions,
    partition_path,
    read_embeddings,
    table_of_level,
    write_embeddings,
    write_partition,
)

# The same plate name in two experiments, and names that are no path segments.
_PLATES = [("week 1", "P1"), ("week 2", "P1"), ("a/b", "../up"), ("ü=1", "007")]


def _table(seed=0, *, plates=_PLATES, encoder="abc", dimensions=5):
    generator = np.random.default_rng(seed)
    rows = [
        ("screen", experiment, plate, f"A{number:02d}", number)
        for experiment, plate in plates
        for number in range(1, 4)
    ]
    frame = pd.DataFrame(rows, columns=["screen", "experiment", "plate", "well", "num_crops"])
    vectors = generator.standard_normal((len(frame), dimensions)).astype(np.float32)
    return EmbeddingTable(frame, vectors, "well", encoder=encoder, block=3, pooling="mean_patch_tokens")


def _sorted(table):
    order = table.frame.sort_values(["experiment", "plate", "well"]).index.to_numpy()
    return table.frame.loc[order].reset_index(drop=True), table.embeddings[order]


def test_a_table_survives_the_round_trip_with_its_facts(tmp_path):
    table = _table()
    files = write_embeddings(tmp_path, table)
    read = read_embeddings(tmp_path)
    assert len(files) == len(_PLATES)
    assert (read.level, read.encoder, read.block, read.pooling) == ("well", "abc", 3, "mean_patch_tokens")
    for (frame, vectors), (again, expected) in [(_sorted(read), _sorted(table))]:
        pd.testing.assert_frame_equal(frame[again.columns], again)
        assert np.array_equal(vectors, expected)


def test_plate_names_never_leave_the_folder(tmp_path):
    path = partition_path(tmp_path, experiment="a/b", plate="../up")
    assert path.parent.parent == tmp_path
    with pytest.raises(UserError, match="empty `plate`"):
        partition_path(tmp_path, experiment="a", plate="")


def test_other_tools_read_the_dataset_with_its_partition_columns(tmp_path):
    plates = [("week 1", "P1"), ("week 2", "P2")]
    write_embeddings(tmp_path, _table(plates=plates))
    frame = pd.read_parquet(tmp_path)
    assert set(frame["experiment"].astype(str)) == {"week 1", "week 2"}
    assert np.stack(frame["embedding"]).shape == (6, 5)


def test_partitions_written_by_different_workers_make_one_table(tmp_path):
    table = _table()
    for part, rows in (("part-0", [0]), ("part-1", [1, 2])):
        write_partition(tmp_path, table.select(np.array(rows)), part=part)
    read = read_embeddings(tmp_path)
    assert read.frame["well"].tolist() == ["A01", "A02", "A03"]
    assert [len(part) for part in iterate_partitions(tmp_path)] == [1, 2]


def test_one_partition_file_knows_its_plate(tmp_path):
    files = write_embeddings(tmp_path, _table(plates=[("a/b", "007")]))
    read = read_embeddings(files[0])
    assert set(read.frame["experiment"]) == {"a/b"}
    assert set(read.frame["plate"]) == {"007"}


def test_the_digest_is_that_of_the_content(tmp_path):
    table = _table(plates=[("a", "b")])
    write_embeddings(tmp_path, table)
    assert (
        read_embeddings(tmp_path).digest
        == EmbeddingTable(read_embeddings(tmp_path).frame, table.embeddings, "well").digest
    )


def test_mixed_encoders_or_dimensions_are_refused(tmp_path):
    write_embeddings(tmp_path / "a", _table(plates=[("e", "1")]))
    write_embeddings(tmp_path / "a", _table(plates=[("e", "2")], encoder="other"))
    with pytest.raises(UserError, match="mixes the encoder 'abc' with 'other'"):
        read_embeddings(tmp_path / "a")
    write_embeddings(tmp_path / "b", _table(plates=[("e", "1")]))
    write_embeddings(tmp_path / "b", _table(plates=[("e", "2")], dimensions=6))
    with pytest.raises(UserError, match="mixes the dimensions 5 with 6"):
        read_embeddings(tmp_path / "b")


def test_a_well_that_occurs_twice_is_refused_by_its_address(tmp_path):
    table = _table(plates=[("e", "1")])
    write_partition(tmp_path, table, part="part-0")
    write_partition(tmp_path, table.select(np.array([1])), part="part-1")
    with pytest.raises(UserError, match="screen/e/1/A02"):
        read_embeddings(tmp_path)


def test_an_empty_folder_is_no_embedding_table(tmp_path):
    with pytest.raises(UserError, match="holds no `experiment="):
        read_embeddings(tmp_path)


def test_a_table_without_plates_cannot_be_partitioned(tmp_path):
    table = EmbeddingTable(
        pd.DataFrame({"perturbation": ["a"]}), np.zeros((1, 2), np.float32), "perturbation"
    )
    with pytest.raises(UserError, match=r"lacks the columns \['experiment', 'plate'\]"):
        write_embeddings(tmp_path, table)


def test_the_output_of_embed_is_entered_by_level(tmp_path):
    write_embeddings(tmp_path / "wells", _table())
    assert table_of_level(tmp_path, level="well") == tmp_path / "wells"
    assert table_of_level(tmp_path, level="field") == tmp_path
