"""The failure record itself."""

import json

from phenoscale.errors import UserError
from phenoscale.stages.failure import clear_failure, failure_path, read_failure, record_failure


def test_a_failure_reads_back_as_it_was_recorded(tmp_path):
    lines = [f"line={number}" for number in range(50)]
    record_failure(tmp_path / "abc", UserError("the value; the way out"), stage="map", key="k", lines=lines)
    failure = read_failure(tmp_path / "abc")
    assert failure.last_log_lines == tuple(lines[-20:])
    assert (failure.stage, failure.key, failure.exit_code, failure.error) == ("map", "k", 2, "UserError")
    assert set(json.loads((tmp_path / "abc.failure.json").read_text())) >= {
        "exit_code",
        "message",
        "stage",
        "last_log_lines",
    }


def test_no_failure_and_a_broken_record_are_none(tmp_path):
    assert read_failure(tmp_path / "abc") is None
    failure_path(tmp_path / "abc").write_text("{")
    assert read_failure(tmp_path / "abc") is None
    clear_failure(tmp_path / "abc")
    clear_failure(tmp_path / "abc")
    assert not failure_path(tmp_path / "abc").exists()


def test_a_record_that_cannot_be_written_leaves_the_first_error_alone(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    record_failure(tmp_path / "file" / "abc", ValueError("first"), stage="map", key="k", lines=[])
    assert "the failure record of stage map could not be written" in caplog.text
