"""Whatever is wrong with a file of a user, the answer is one line that names it and the way out."""

import gzip

import pandas as pd
import pytest

from phenoscale.errors import UserError
from phenoscale.schema.readable import readable

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
