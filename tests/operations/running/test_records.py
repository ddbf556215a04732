"""Records of a run: what every machine reads of its steps, in a folder or a bucket."""

from pathlib import Path

import pytest

from phenoscale.errors import EXIT_BUG, EXIT_RETRY, EXIT_USER, UserError
from phenoscale.operations.running.records import RunFacts, open_records
from phenoscale.operations.running.steps import Known
from phenoscale.stages import StageResult

RUN = "20261129-120000"


def _result(path: Path) -> StageResult:
    return StageResult("map", "k" * 64, path, "d" * 64, False, 1.5, {"num_wells": 3})


def test_facts_results_and_known_outputs_come_back_as_they_were_written(tmp_path):
    records = open_records(str(tmp_path), run=RUN)
    facts = RunFacts(pipeline="full", config="configs/c.json", parent_run_id="p")
    known = Known(path="map/abc", key="k" * 64)
    records.write_facts(facts)
    records.write_result("map_trained", result=_result(tmp_path / "out"))
    records.write_known("map_trained", known=known)
    again = open_records(str(tmp_path), run=RUN)
    assert again.read_facts() == facts
    assert again.read_result("map_trained") == _result(tmp_path / "out")
    assert again.read_known("map_trained") == known
    assert again.read_result("map_untrained") is None
    assert (tmp_path / "runs" / RUN / "map_trained" / "result.json").is_file()


@pytest.mark.parametrize(
    ("error", "code"),
    [(UserError("no controls"), EXIT_USER), (OSError(28, "full"), EXIT_RETRY), (KeyError("x"), EXIT_BUG)],
)
def test_a_failure_comes_back_with_the_exit_code_of_its_error_until_the_step_tries_again(
    tmp_path, error, code
):
    records = open_records(str(tmp_path), run=RUN)
    records.write_failure("map_trained", error=error, lines=["one", "two"])
    failure = records.find_failure(["embed_trained", "map_trained"])
    assert (failure.name, failure.exit_code, failure.last_log_lines) == ("map_trained", code, ("one", "two"))
    assert str(error) in failure.message
    records.clear_failure("map_trained")
    assert records.find_failure(["map_trained"]) is None


def test_in_a_bucket_the_records_name_the_output_by_its_address_and_locks_stay_on_this_machine(
    s3_uri, tmp_path, monkeypatch
):
    monkeypatch.setenv("PHENOSCALE_CACHE", str(tmp_path / "cache"))
    here = open_records(s3_uri, run=RUN)
    here.write_result("map_trained", result=_result(here.folder.parents[1] / "map" / "abc"))
    monkeypatch.setenv("PHENOSCALE_CACHE", str(tmp_path / "elsewhere"))
    there = open_records(s3_uri, run=RUN)
    found = there.read_result("map_trained")
    assert found.path == there.folder.parents[1] / "map" / "abc"
    assert tmp_path / "elsewhere" in found.path.parents
    assert list(there.folder.iterdir()) == []
