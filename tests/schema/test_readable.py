"""Whatever is wrong with a file of a user, the answer is one line that names it and the way out."""

import gzip
from pathlib import Path

import pandas as pd
import pytest

from phenoscale.errors import UserError
from phenoscale.schema.columns import read_parquet
from phenoscale.schema.readable import listed_columns, readable
from phenoscale.schema.rows import read_rows

_WHOLE = gzip.compress(b"gene,arm\n" + b"TP53,17p\n" * 2000, mtime=0)


def _read(file):
    with readable(file, holds="a gene table", way_out="write it with a header row"):
        return pd.read_csv(file)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cut.csv.gz", _WHOLE[: len(_WHOLE) // 2]),
        ("damaged.csv.gz", _WHOLE[:20] + b"\xff" * 20 + _WHOLE[40:]),
        ("foreign.csv.gz", b"gene,arm\nTP53,17p\n"),
        ("image.csv", b"\x89PNG\r\n\xff\xfe\x00"),
        ("ragged.csv", b"gene,arm\nTP53,17p\nA,B,C,D\n"),
        ("empty.csv", b""),
    ],
)
def test_what_cannot_be_read_is_one_line_with_the_way_out(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(
        UserError, match=r"is not a readable CSV \(.+\); write it with a header row$"
    ) as caught:
        _read(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_not_there_is_named_with_what_was_expected(tmp_path):
    with pytest.raises(UserError, match=r"genes\.csv does not exist, but a gene table is needed there"):
        _read(tmp_path / "genes.csv")


def test_a_whole_file_is_read_and_an_error_of_ours_is_left_alone(tmp_path):
    (tmp_path / "genes.csv.gz").write_bytes(_WHOLE)
    assert len(_read(tmp_path / "genes.csv.gz")) == 2000
    with (
        pytest.raises(UserError, match="as it was"),
        readable(tmp_path / "genes.csv.gz", holds="a gene table", way_out="none"),
    ):
        raise UserError("as it was")


def test_a_folder_is_called_one_by_every_reader_of_a_file(tmp_path):
    folder = tmp_path / "genes.json"
    folder.mkdir()
    (folder / "rows.parquet").mkdir()
    with pytest.raises(UserError, match=r"genes\.json is a folder, but a gene table is needed there"):
        _read(folder)
    with pytest.raises(UserError, match=r"genes\.json is a folder, but a Parquet file is needed there"):
        read_parquet(folder)
    with pytest.raises(UserError, match=r"rows\.parquet is a folder, but a Parquet file is needed there"):
        read_rows(folder)


def test_what_is_neither_file_nor_folder_is_refused_in_one_line(tmp_path):
    with pytest.raises(UserError, match=r"is no regular file, but a gene table is needed there"):
        _read(Path("/dev/null"))
    with pytest.raises(UserError, match=r"cannot be read \(File name too long\), but a gene table"):
        _read(tmp_path / ("x" * 300))


def test_up_to_ten_columns_are_named_and_of_more_ten_and_their_number():
    assert listed_columns("abc") == "the columns ['a', 'b', 'c']"
    assert listed_columns(range(10)).count(",") == 9
    assert listed_columns(range(385)) == "385 columns (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...)"
