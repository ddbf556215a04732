"""EmbeddingTable: a dataset partitioned by screen, experiment and plate that gives back what was written."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from phenoscale.errors import UserError
from phenoscale.schema.columns import with_metadata
from phenoscale.schema.embeddings import (
    FORMAT,
    EmbeddingTable,
    iterate_partitions,
    partition_path,
    read_embeddings,
    table_of_level,
    write_embeddings,
    write_partition,
)
from phenoscale.schema.keys import PLATE_KEY

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
    path = partition_path(tmp_path, ["..", "a/b", "../up"])
    assert path.parent.parent.parent == tmp_path
    with pytest.raises(UserError, match="empty `plate`"):
        partition_path(tmp_path, ["s", "a", ""])


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
    with pytest.raises(UserError, match="holds no `screen=\\*/experiment="):
        read_embeddings(tmp_path)


def test_a_table_without_plates_cannot_be_partitioned(tmp_path):
    table = EmbeddingTable(
        pd.DataFrame({"perturbation": ["a"]}), np.zeros((1, 2), np.float32), "perturbation"
    )
    with pytest.raises(UserError, match=r"lacks the columns \['screen', 'experiment', 'plate'\]"):
        write_embeddings(tmp_path, table)


@pytest.mark.parametrize("is_one_after_the_other", [False, True])
def test_screens_of_equal_plate_names_lose_no_row(tmp_path, is_one_after_the_other):
    first, second = (_table(seed) for seed in range(2))
    second.frame["screen"] = "other"
    both = EmbeddingTable(
        pd.concat([first.frame, second.frame], ignore_index=True),
        np.concatenate([first.embeddings, second.embeddings]),
        "well",
        encoder="abc",
        block=3,
    )
    written = [first, second] if is_one_after_the_other else [both]
    files = {file for table in written for file in write_embeddings(tmp_path, table)}
    read = read_embeddings(tmp_path)
    assert len(files) == 2 * len(_PLATES)
    assert len(read) == len(first) + len(second)
    for table in (first, second):
        own = read.select((read.frame["screen"] == table.frame["screen"].iloc[0]).to_numpy())
        assert np.array_equal(_sorted(own)[1], _sorted(table)[1])


def test_wells_that_name_no_screen_are_of_the_unnamed_one(tmp_path):
    table = EmbeddingTable(_table().frame.drop(columns="screen"), _table().embeddings, "well")
    assert set(table.frame["screen"]) == {""}
    write_embeddings(tmp_path, table)
    read = read_embeddings(tmp_path)
    assert set(read.frame["screen"]) == {""} and len(read) == len(table)
    assert read.digest == table.select(_order(table)).digest


def _order(table):
    """As the files of a dataset are read."""
    paths = [str(partition_path(Path(), key)) for key in table.frame[list(PLATE_KEY)].itertuples(index=False)]
    return np.argsort(paths, kind="stable")


def test_a_dataset_of_other_tools_is_read_as_what_it_is(tmp_path):
    folder = tmp_path / "experiment=e%201" / "plate=7"
    folder.mkdir(parents=True)
    frame = pd.DataFrame({"well": ["A01", "A02"], "embedding": [[0.0, 1.0], [1.0, 0.0]]})
    frame.to_parquet(folder / "some.parquet")
    read = read_embeddings(tmp_path)
    assert read.frame[list(PLATE_KEY)].drop_duplicates().to_numpy().tolist() == [["", "e 1", "7"]]
    assert read.frame["well"].tolist() == ["A01", "A02"] and read.level == "well"


def test_a_dataset_of_another_version_is_refused_by_name(tmp_path):
    [file] = write_embeddings(tmp_path, _table(plates=[("e", "1")]))
    arrow = pq.read_table(file, partitioning=None)
    for facts, version in (({"level": "well"}, 1), ({**FORMAT.header, "format_version": 3}, 3)):
        pq.write_table(with_metadata(arrow, facts), file)
        way_out = rf"embeddings, version {version}, but .* reads version 2; run `phenoscale embed` again"
        with pytest.raises(UserError, match=way_out):
            read_embeddings(tmp_path)


def test_the_output_of_embed_is_entered_by_level(tmp_path):
    write_embeddings(tmp_path / "wells", _table())
    assert table_of_level(tmp_path, level="well") == tmp_path / "wells"
    assert table_of_level(tmp_path, level="field") == tmp_path
