"""Report rows: one shape for every number, NaN as null, equal settings as equal strings."""

import json
import math

import pyarrow.parquet as pq
import pytest

from phenoscale.errors import UserError
from phenoscale.schema.columns import read_metadata, with_metadata
from phenoscale.schema.rows import (
    FORMAT,
    Row,
    RowTable,
    canonical_setting,
    read_rows,
    rows_to_json,
    write_rows,
)

_ROWS = [
    Row("recall", "CORUM", "recall", canonical_setting(upper=0.95, lower=0.05), 0.5, 0.4, 0.6, 10, 2, 0),
    Row("recall", "CORUM", "recall", value=math.nan, low=math.inf, encoder="abc", map="def", citation="x"),
]


def test_rows_survive_parquet_and_json(tmp_path):
    write_rows(tmp_path, _ROWS)
    assert read_rows(tmp_path) == _ROWS
    assert read_rows(tmp_path / "rows.json") == _ROWS


def test_what_could_not_be_computed_is_null_everywhere(tmp_path):
    write_rows(tmp_path, _ROWS)
    assert (_ROWS[1].value, _ROWS[1].low) == (None, None)
    assert json.loads((tmp_path / "rows.json").read_text())[1]["value"] is None
    assert json.loads(rows_to_json(_ROWS))[1]["low"] is None


def test_equal_settings_are_equal_strings():
    assert canonical_setting(a=1, b=[1, 2]) == canonical_setting(b=[1, 2], a=1) == '{"a":1,"b":[1,2]}'
    assert _ROWS[0].settings == {"lower": 0.05, "upper": 0.95}


def test_an_empty_table_of_rows_is_a_table(tmp_path):
    write_rows(tmp_path, [])
    assert read_rows(tmp_path) == []


def test_a_foreign_file_is_refused_with_its_fields(tmp_path):
    (tmp_path / "a.json").write_text('[{"benchmark": "x", "score": 1}]')
    with pytest.raises(UserError, match=r"remove \['score'\] and add \['metric', 'source'\]"):
        read_rows(tmp_path / "a.json")
    (tmp_path / "b.json").write_text("[{")
    with pytest.raises(UserError, match="not readable JSON"):
        read_rows(tmp_path / "b.json")
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(UserError, match="rows are a JSON list"):
        read_rows(tmp_path / "c.json")
    with pytest.raises(UserError, match="does not exist"):
        read_rows(tmp_path / "d.json")


def test_a_person_reads_one_line_per_row():
    assert RowTable(_ROWS).text().splitlines()[0] == (
        'recall CORUM recall: 0.5000 [0.4000, 0.6000] n=10 excluded=2 {"lower":0.05,"upper":0.95}'
    )
    assert "no value" in RowTable(_ROWS).text().splitlines()[1]


def test_rows_of_another_version_are_refused_and_bare_ones_are_read(tmp_path):
    write_rows(tmp_path, _ROWS)
    file = tmp_path / "rows.parquet"
    table = pq.read_table(file)
    assert read_metadata(table.schema) == FORMAT.header
    pq.write_table(table.replace_schema_metadata(None), file)
    assert read_rows(tmp_path) == _ROWS
    pq.write_table(with_metadata(table, {**FORMAT.header, "format_version": 9}), file)
    with pytest.raises(UserError, match=r"rows, version 9, but .* reads version 1; run the benchmark again"):
        read_rows(tmp_path)
